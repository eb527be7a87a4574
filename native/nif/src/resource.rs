//! Resources that are made for each request. rustler looks their type up by a keyed hash whenever it makes or reads
//! one, and counts itself among the keepers each time: a third of what a permit costs. Here the type is one word, and
//! whoever reads a resource borrows it of its term.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use rustler::sys::{
    ErlNifEnv, ErlNifResourceDtor, ErlNifResourceFlags, ErlNifResourceType, ErlNifResourceTypeInit,
    c_void, enif_alloc_resource, enif_get_resource, enif_init_resource_type, enif_keep_resource,
    enif_make_resource, enif_release_resource,
};
use rustler::{Env, Term};

/// What a resource has in it. It is dropped when no term refers to it any more, on whatever thread.
pub(crate) trait Held: Sized + Send + Sync + 'static {
    /// No term refers to it any more.
    fn let_go(self, env: Env<'_>);
}

/// A type of resources with a `T` in each.
pub(crate) struct Kind<T> {
    /// Null before the library is loaded.
    opened: AtomicPtr<ErlNifResourceType>,
    of: PhantomData<fn() -> T>,
}

impl<T: Held> Kind<T> {
    pub(crate) const fn new() -> Self {
        Self {
            opened: AtomicPtr::new(ptr::null_mut()),
            of: PhantomData,
        }
    }

    /// Makes the type known to the runtime. False if it would not have it.
    ///
    /// # Safety
    ///
    /// It is to be called while the library is loaded, with that environment.
    pub(crate) unsafe fn open(&self, env: Env<'_>, name: &CStr) -> bool {
        let ended: ErlNifResourceDtor = ended::<T>;
        let init = ErlNifResourceTypeInit {
            dtor: ended as *const ErlNifResourceDtor,
            stop: ptr::null(),
            down: ptr::null(),
            members: 1,
            dyncall: ptr::null(),
        };
        let flags = ErlNifResourceFlags::ERL_NIF_RT_CREATE;
        // SAFETY: the environment is that of a load, says the caller; the rest is this function's own, and read by the
        // runtime before it returns.
        let opened = unsafe {
            enif_init_resource_type(env.as_c_arg(), name.as_ptr(), &init, flags, ptr::null_mut())
        };
        // Natives run after the load, and the runtime sees to it that their threads know of it.
        self.opened.store(opened.cast_mut(), Ordering::Relaxed);
        !opened.is_null()
    }

    /// The term of a new resource.
    #[inline]
    pub(crate) fn make<'a>(&self, env: Env<'a>, value: T) -> Option<Term<'a>> {
        let opened = self.opened.load(Ordering::Relaxed);
        if opened.is_null() {
            return None;
        }
        // SAFETY: the type is open, and there is room for a `T` behind whatever boundary `place` finds: it is written
        // there before anybody knows of the resource. The term keeps it, so that to release it ends nothing. It is a
        // term of this environment.
        unsafe {
            let size = size_of::<T>().saturating_add(align_of::<T>());
            let resource = enif_alloc_resource(opened, size);
            place::<T>(resource).write(value);
            let term = enif_make_resource(env.as_c_arg(), resource);
            enif_release_resource(resource);
            Some(Term::new(env, term))
        }
    }

    /// What is in the resource that a term refers to, if it is one of this type.
    #[inline]
    pub(crate) fn look<'a>(&self, term: Term<'a>) -> Option<&'a T> {
        let resource = self.find(term)?;
        // SAFETY: what the runtime finds to be of this type was written by `make`. The term keeps it for as long as the
        // environment has the term, which is `'a`; nobody changes it but through a shared reference, and it is dropped
        // when no term is left.
        Some(unsafe { &*place::<T>(resource).cast_const() })
    }

    /// The same resource, for longer than the term lives.
    pub(crate) fn keep(&self, term: Term<'_>) -> Option<Keep<T>> {
        let resource = self.find(term)?;
        // SAFETY: the term keeps it until this has, too.
        unsafe { enif_keep_resource(resource.cast_const()) };
        Some(Keep {
            resource,
            of: PhantomData,
        })
    }

    #[inline]
    fn find(&self, term: Term<'_>) -> Option<*mut c_void> {
        let opened = self.opened.load(Ordering::Relaxed);
        if opened.is_null() {
            return None;
        }
        let mut resource: *const c_void = ptr::null();
        let env = term.get_env().as_c_arg();
        // SAFETY: the type is open, and the term is of the environment.
        let found = unsafe { enif_get_resource(env, term.as_c_arg(), opened, &mut resource) };
        (found != 0).then_some(resource.cast_mut())
    }
}

/// A resource that is kept although no term may refer to it.
pub(crate) struct Keep<T: Held> {
    resource: *mut c_void,
    of: PhantomData<T>,
}

// SAFETY: what is in it may be looked at from any thread, and sent to any. The runtime counts who keeps a resource
// atomically, and has it dropped by whoever is the last, on whatever thread.
unsafe impl<T: Held> Send for Keep<T> {}
// SAFETY: as above.
unsafe impl<T: Held> Sync for Keep<T> {}

impl<T: Held> Deref for Keep<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: `Kind::make` has written it, and as long as this keeps the resource nobody drops it.
        unsafe { &*place::<T>(self.resource).cast_const() }
    }
}

impl<T: Held> Drop for Keep<T> {
    fn drop(&mut self) {
        // SAFETY: `Kind::keep` has kept it, and this is the end of that.
        unsafe { enif_release_resource(self.resource.cast_const()) };
    }
}

/// Where the value is. The runtime does not say how what it hands out is aligned.
///
/// # Safety
///
/// There are as many bytes at `resource` as a `T` takes, and what it is aligned to.
#[inline]
unsafe fn place<T>(resource: *mut c_void) -> *mut T {
    let offset = resource.cast::<u8>().align_offset(align_of::<T>());
    // SAFETY: there are so many, says the caller.
    unsafe { resource.byte_add(offset).cast() }
}

/// The runtime calls this once with each resource of the type, when no term refers to it any more.
unsafe extern "C" fn ended<T: Held>(env: *mut ErlNifEnv, resource: *mut c_void) {
    let lifetime = ();
    // SAFETY: the environment is valid until this returns, and nothing else is made with `lifetime`.
    let env = unsafe { Env::new(&lifetime, env) };
    // SAFETY: `make` has written it, and nobody else takes it.
    let value = unsafe { place::<T>(resource).read() };
    // What a panic may leave half done is nothing but the library's own memory, whole after each step.
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| value.let_go(env))) {
        // Dropped, it might panic once more.
        std::mem::forget(payload);
    }
}
