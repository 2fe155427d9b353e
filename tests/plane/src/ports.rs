//! Ports of loopback that nobody uses.

use std::net::{Ipv4Addr, TcpListener};

/// Returns `N` free ports; each has a free one above it, which OpenBao takes too.
///
/// # Panics
///
/// If loopback has none left.
pub fn free<const N: usize>() -> [u16; N] {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok();
    // All are held until all are found, so that they differ.
    let mut held = Vec::new();
    std::array::from_fn(|_| {
        loop {
            let first = bind(0).expect("loopback has a free port");
            let port = first.local_addr().expect("a bound socket has an address").port();
            let pair = port.checked_add(1).and_then(bind);
            let found = pair.is_some();
            held.push((first, pair));
            if found {
                return port;
            }
        }
    })
}
