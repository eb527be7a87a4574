//! Faults on purpose. A sanitizer that does not see the one that it is there for proves nothing by seeing none.
//!
//! As a program it takes the name of one. As a library it commits one when a runtime loads it.

use std::cell::UnsafeCell;
use std::env;
use std::ffi::c_void;
use std::hint::black_box;
use std::ptr;
use std::sync::Arc;
use std::thread;

fn use_after_free() {
    let number = Box::new(black_box(7_u64));
    let place = &raw const *number;
    drop(number);
    // SAFETY: there is none. That is what is to be seen.
    black_box(unsafe { place.read_volatile() });
}

fn leak() {
    for number in 0..100_u64 {
        black_box(Box::leak(Box::new(black_box(number))));
    }
}

struct Shared(UnsafeCell<u64>);

// SAFETY: there is none. That is what is to be seen.
unsafe impl Sync for Shared {}

fn race() {
    let shared = Arc::new(Shared(UnsafeCell::new(0)));
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let shared = shared.clone();
            thread::spawn(move || {
                for _ in 0..100_000 {
                    // SAFETY: there is none. That is what is to be seen.
                    unsafe { shared.0.get().write_volatile(black_box(1)) };
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no thread panics");
    }
}

/// Called by the runtime when it loads a native library.
#[unsafe(no_mangle)]
pub extern "C" fn nif_init() -> *const c_void {
    use_after_free();
    ptr::null()
}

#[allow(dead_code)]
fn main() {
    match env::args().nth(1).as_deref() {
        Some("use_after_free") => use_after_free(),
        Some("leak") => leak(),
        Some("race") => race(),
        _ => panic!("name a fault: use_after_free, leak or race"),
    }
}
