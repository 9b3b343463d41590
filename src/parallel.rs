//! Many waits at once, or much to compute, in a bounded number of threads. Knows nothing of what is done.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// `f` of every item, at most `limit` at a time; the results in the order of the items.
pub fn parallel<T: Sync, R: Send>(items: &[T], limit: usize, f: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, R)>> = Mutex::new(Vec::with_capacity(items.len()));
    let work = || {
        while let Some((i, item)) = take(&next, items) {
            let result = f(item);
            // A panic elsewhere does not unwind here (release builds abort): a poisoned list is still whole.
            done.lock().unwrap_or_else(PoisonError::into_inner).push((i, result));
        }
    };
    std::thread::scope(|scope| {
        // The calling thread works too: one item needs no thread at all.
        for _ in 1..items.len().min(limit) {
            let spawned = std::thread::Builder::new().stack_size(1 << 20).spawn_scoped(scope, work);
            if spawned.is_err() {
                break;
            }
        }
        work();
    });
    let mut results = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(i, _)| *i);
    results.into_iter().map(|(_, r)| r).collect()
}

/// What a job comes to that may take long: `meanwhile` is called again and again until the job is done, or until it says
/// no. A job that is done `soon` is waited for only. `None`: there is no thread to be had for it.
pub fn beside<R: Send>(
    soon: Duration,
    job: impl FnOnce() -> R + Send,
    mut meanwhile: impl FnMut() -> bool,
) -> Option<R> {
    let (send, receive) = sync_channel(1);
    std::thread::scope(|scope| {
        let work = move || drop(send.send(job()));
        std::thread::Builder::new().spawn_scoped(scope, work).ok()?;
        let mut wait = soon;
        loop {
            match receive.recv_timeout(wait) {
                Ok(result) => return Some(result),
                Err(RecvTimeoutError::Timeout) if meanwhile() => wait = Duration::ZERO,
                Err(_) => return receive.recv().ok(),
            }
        }
    })
}

/// Threads for what only computes: asking how many cores there are would be a look at the machine, and more threads than
/// cores cost nothing that shows.
const CORES: usize = 2;
/// So many items are computed sooner than a thread is there.
const FEW: usize = 32;

/// `f` of every item, where it is the processor that takes the time; the results in the order of the items.
pub fn computed<T: Sync, R: Send>(items: &[T], f: impl Fn(&T) -> R + Sync) -> Vec<R> {
    parallel(items, if items.len() < FEW { 1 } else { CORES }, f)
}

fn take<'a, T>(next: &AtomicUsize, items: &'a [T]) -> Option<(usize, &'a T)> {
    let i = next.fetch_add(1, Ordering::Relaxed);
    items.get(i).map(|item| (i, item))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_order_of_the_items_and_the_limit_holds() {
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let items: Vec<usize> = (0..100).collect();
        let results = parallel(&items, 7, |i| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(std::time::Duration::from_millis(1));
            now.fetch_sub(1, Ordering::SeqCst);
            i * 2
        });
        assert_eq!(results, items.iter().map(|i| i * 2).collect::<Vec<_>>());
        assert!(most.load(Ordering::SeqCst) <= 7);
        assert!(parallel(&[] as &[u8], 7, |_| ()).is_empty());
    }

    #[test]
    fn beside_a_long_job_the_rest_goes_on_until_it_says_no() {
        let calls = AtomicUsize::new(0);
        let (send, receive) = sync_channel::<()>(1);
        let job = move || receive.recv().is_ok();
        let enough = || {
            if calls.fetch_add(1, Ordering::SeqCst) == 2 {
                send.send(()).unwrap();
            }
            true
        };
        assert_eq!(beside(Duration::ZERO, job, enough), Some(true));
        assert!(calls.load(Ordering::SeqCst) > 2);
        calls.store(0, Ordering::SeqCst);
        let slow = || std::thread::sleep(Duration::from_millis(50));
        let no = || calls.fetch_add(1, Ordering::SeqCst) > 0;
        assert_eq!((beside(Duration::ZERO, slow, no), calls.load(Ordering::SeqCst)), (Some(()), 1));
        assert_eq!(beside(Duration::from_secs(9), || 7, || panic!("it was done soon")), Some(7));
    }
}
