//! Senders to one mailbox.

use loom::thread;

use super::explore;
use crate::senders::{Claim, Senders, Told};
use crate::sync::{Arc, AtomicU64, Mutex, Ordering};
use crate::vocabulary::OwnerId;

const LIMIT: u64 = 1;

struct Mailbox {
    senders: Senders,
    length: AtomicU64,
}

impl Mailbox {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            senders: Senders::new(),
            length: AtomicU64::new(0),
        })
    }

    /// What a sender does, step by step. Whether its message is in.
    fn send(&self, sender: OwnerId) -> bool {
        let told = Told {
            noted: self.senders.sent(),
            length: self.length.load(Ordering::Acquire),
            noted_ns: 1,
        };
        self.senders.tell(told);
        match self.senders.admit(sender, told, || LIMIT, |_| true) {
            Ok(claim) => self.put(claim, sender, LIMIT),
            Err(_) => false,
        }
    }

    /// What a sender does that need not ask, if it has to stop at a length.
    fn send_unasked(&self, sender: OwnerId, most: u64) -> bool {
        match self
            .senders
            .admit_unasked(sender, || 0, 2 * most, u64::MAX, |_| true)
        {
            Ok(claim) => self.put(claim, sender, most),
            Err(_) => false,
        }
    }

    fn put(&self, claim: Claim, sender: OwnerId, most: u64) -> bool {
        let before = self.length.fetch_add(1, Ordering::AcqRel);
        assert!(before < most);
        self.senders.finish(claim, sender)
    }
}

#[test]
fn as_many_messages_get_in_as_there_is_room_for() {
    explore(|| {
        let mailbox = Mailbox::new();
        let senders: Vec<_> = (1..3)
            .map(|sender| {
                let mailbox = Arc::clone(&mailbox);
                thread::spawn(move || mailbox.send(OwnerId(sender)))
            })
            .collect();
        senders
            .into_iter()
            .for_each(|sender| _ = sender.join().unwrap());
        assert!(mailbox.length.load(Ordering::Relaxed) <= LIMIT);
        assert!(!mailbox.senders.sweep(|_| false));
    });
}

#[test]
fn what_is_taken_out_makes_room_and_no_more() {
    explore(|| {
        let mailbox = Mailbox::new();
        assert!(mailbox.send(OwnerId(1)));
        let receiver = {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || mailbox.length.fetch_sub(1, Ordering::AcqRel))
        };
        let sent = mailbox.send(OwnerId(2));
        receiver.join().unwrap();
        assert_eq!(mailbox.length.load(Ordering::Relaxed), u64::from(sent));
    });
}

#[test]
fn who_is_told_what_another_was_told_gets_in_no_more_than_there_is_room_for() {
    explore(|| {
        let mailbox = Mailbox::new();
        assert!(mailbox.send(OwnerId(1)));
        let sender = {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || mailbox.send_unasked(OwnerId(2), 2))
        };
        // Takes it out, and tells how long it is then.
        mailbox.length.fetch_sub(1, Ordering::AcqRel);
        let told = Told {
            noted: mailbox.senders.sent(),
            length: mailbox.length.load(Ordering::Acquire),
            noted_ns: 1,
        };
        mailbox.senders.tell(told);
        let sent = mailbox.send_unasked(OwnerId(3), 2);
        assert!(sender.join().unwrap() || sent);
        assert!(!mailbox.senders.sweep(|_| false));
    });
}

#[test]
fn of_two_who_tell_at_once_one_is_heard_and_whole() {
    explore(|| {
        let senders = Arc::new(Senders::new());
        let told = |noted_ns, length| Told {
            noted: 0,
            noted_ns,
            length,
        };
        let other = {
            let senders = Arc::clone(&senders);
            thread::spawn(move || senders.tell(told(1, 0)))
        };
        senders.tell(told(2, LIMIT));
        other.join().unwrap();
        // What was asked for at 1 is too old, and by what was asked for at 2 there is no room.
        let claim = senders.admit_unasked(OwnerId(9), || 50_002, 2 * LIMIT, u64::MAX, |_| true);
        assert_eq!(claim, Err(50_002));
    });
}

#[test]
fn the_place_of_a_dead_sender_is_swept_once() {
    explore(|| {
        let mailbox = Mailbox::new();
        let told = Told {
            noted: 0,
            length: 0,
            noted_ns: 1,
        };
        let claim = mailbox.senders.admit(OwnerId(1), told, || LIMIT, |_| true);
        assert!(claim.is_ok());
        let sweeper = {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || mailbox.senders.sweep(|OwnerId(sender)| sender != 1))
        };
        mailbox.senders.sweep(|OwnerId(sender)| sender != 1);
        sweeper.join().unwrap();
        assert!(mailbox.send(OwnerId(2)));
        assert_eq!(mailbox.senders.sent(), 2);
    });
}

/// A mailbox off the heap: what is sent is in a buffer first, and counts when the receiver has emptied it.
struct Buffered {
    senders: Senders,
    /// In the queue, and in buffers.
    messages: Mutex<(u64, u64)>,
}

impl Buffered {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            senders: Senders::new(),
            messages: Mutex::new((0, 0)),
        })
    }

    /// The question passes the buffers by; the receiver empties them before it answers.
    fn ask(&self) -> u64 {
        let length = self.messages.lock().0;
        let mut messages = self.messages.lock();
        *messages = (messages.0 + messages.1, 0);
        length
    }

    fn send(&self, sender: OwnerId) -> bool {
        let noted = self.senders.sent();
        self.ask();
        let told = Told {
            noted,
            length: self.ask(),
            noted_ns: 1,
        };
        match self.senders.admit(sender, told, || LIMIT, |_| true) {
            Ok(claim) => {
                self.messages.lock().1 += 1;
                self.senders.finish(claim, sender)
            }
            Err(_) => false,
        }
    }
}

#[test]
fn who_asks_twice_counts_what_was_in_a_buffer() {
    explore(|| {
        let mailbox = Buffered::new();
        let other = {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || mailbox.send(OwnerId(1)))
        };
        let sent = mailbox.send(OwnerId(2));
        let sent = u64::from(sent) + u64::from(other.join().unwrap());
        let (queue, buffers) = *mailbox.messages.lock();
        assert_eq!(queue + buffers, sent);
        assert!(sent <= LIMIT);
    });
}
