//! A server of the scenario's own, which takes what is sent to it and remembers the bodies.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// Runs until the tests end.
pub(crate) struct Hook {
    address: SocketAddr,
    posts: Arc<Mutex<Vec<String>>>,
}

impl Hook {
    /// Starts one on loopback.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let posts = Arc::new(Mutex::new(Vec::new()));
        let kept = posts.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = kept.clone();
                std::thread::spawn(move || _ = serve(stream, &kept));
            }
        });
        Self { address, posts }
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// What was sent so far.
    pub(crate) fn posts(&self) -> Vec<String> {
        self.posts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn serve(stream: TcpStream, posts: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut from = BufReader::new(stream.try_clone()?);
    let mut to = stream;
    loop {
        let mut length = 0;
        let mut n_lines = 0;
        loop {
            let mut header = String::new();
            if from.read_line(&mut header)? == 0 {
                return Ok(());
            }
            n_lines += 1;
            if header.trim().is_empty() && n_lines > 1 {
                break;
            }
            if let Some((name, value)) = header.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let mut body = String::new();
        from.by_ref().take(length).read_to_string(&mut body)?;
        posts.lock().unwrap_or_else(PoisonError::into_inner).push(body);
        to.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")?;
    }
}
