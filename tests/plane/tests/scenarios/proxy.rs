//! A way to OpenBao that remembers what goes over it, and that can be made to fail a while.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// Runs until the tests end.
pub(crate) struct Proxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// How many more requests fail, of those whose first line has this text.
    fails: (u64, String),
    /// First lines and headers, but for tokens.
    heads: Vec<String>,
}

impl Proxy {
    /// Starts one on loopback that leads to `vault`, an address with `http://`.
    pub(crate) fn start(vault: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::<Mutex<State>>::default();
        let (shared, to) = (state.clone(), vault.trim_start_matches("http://").to_owned());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (state, to) = (shared.clone(), to.clone());
                std::thread::spawn(move || _ = carry(stream, &to, &state));
            }
        });
        Self { address, state }
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next `n` requests whose first line has `text` fail with status 500.
    pub(crate) fn fail(&self, n: u64, text: &str) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).fails = (n, text.to_owned());
    }

    /// The heads of the requests so far, in lower case.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).heads.clone()
    }
}

/// One request and its answer.
fn carry(mut from: TcpStream, to: &str, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(from.try_clone()?);
    let (mut head, mut length) = (Vec::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
        if !line.to_ascii_lowercase().starts_with("connection:") {
            head.push(line);
        }
    }
    let mut body = Vec::new();
    reader.by_ref().take(length).read_to_end(&mut body)?;
    let is_failed = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = head.iter().map(|it| it.to_ascii_lowercase()).filter(|it| !it.starts_with("x-vault-token:"));
        state.heads.push(shown.collect());
        let (left, text) = &mut state.fails;
        let is_meant = *left > 0 && head.first().is_some_and(|it| it.contains(text.as_str()));
        *left -= u64::from(is_meant);
        is_meant
    };
    if is_failed {
        return from.write_all(b"HTTP/1.1 500 Failed\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}");
    }
    let mut server = TcpStream::connect(to)?;
    server.write_all(head.concat().as_bytes())?;
    server.write_all(b"Connection: close\r\n\r\n")?;
    server.write_all(&body)?;
    std::io::copy(&mut server, &mut from).map(drop)
}
