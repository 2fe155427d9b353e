//! Ports of loopback that nobody uses, and that nobody else is given while these tests run.

use std::fs;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::{Mutex, PoisonError};

/// From where ports are given away.
const FIRST: u16 = 12_000;

/// Where the system begins to choose ports for those who do not care, if it does not say.
const USUAL: u16 = 32_768;

/// What keeps other test programs from the ports that this one has, until it ends.
static HELD: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());

/// Returns `N` free ports; each has a free one above it, which OpenBao takes too.
///
/// None of them is one that the system chooses for connections: else the address of a server that is starting, or
/// starting again, may be that of somebody's connection by then.
///
/// # Panics
///
/// If loopback has none left.
pub fn free<const N: usize>() -> [u16; N] {
    let n_pairs = chosen_by_the_system().saturating_sub(FIRST) / 2;
    // Programs that run side by side begin at different places.
    let begin = RandomState::new().build_hasher().finish();
    let mut pairs = (0..u64::from(n_pairs)).map(|n| {
        let nth = (begin.wrapping_add(n)) % u64::from(n_pairs);
        FIRST + 2 * u16::try_from(nth).expect("there are fewer pairs than ports")
    });
    std::array::from_fn(|_| pairs.find(|it| take(*it)).expect("loopback has a free port"))
}

/// Takes a port and the one above it, if nobody has them.
fn take(port: u16) -> bool {
    // A name that is free again as soon as this program has ended, however it ends.
    let name = SocketAddr::from_abstract_name(format!("leafseal-tests-port-{port}")).expect("it is short");
    let Ok(lock) = UnixListener::bind_addr(&name) else { return false };
    HELD.lock().unwrap_or_else(PoisonError::into_inner).push(lock);
    [port, port + 1].map(|it| TcpListener::bind((Ipv4Addr::LOCALHOST, it))).iter().all(Result::is_ok)
}

/// The lowest port that the system chooses by itself.
fn chosen_by_the_system() -> u16 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let first = range.split_whitespace().next().and_then(|it| it.parse().ok());
    // Where it chooses nearly all of them, what is usual is as good as anything.
    first.filter(|it| *it > FIRST + 1_000).unwrap_or(USUAL)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_port_is_given_twice() {
        let all: BTreeSet<u16> = (0..20).flat_map(|_| free::<3>()).collect();
        assert_eq!(all.len(), 60);
        assert!(all.iter().all(|it| (FIRST..chosen_by_the_system()).contains(it)), "{all:?}");
    }
}
