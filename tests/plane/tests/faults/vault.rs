//! A server that can be made to fail as a real Vault cannot be asked to: silence, closed connections, nonsense,
//! any status.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// What it does when it is asked for something.
#[derive(Clone, Debug)]
pub(crate) enum Mood {
    /// It answers as Vault does: everybody may log in, and every secret has this password.
    Fine(&'static str),
    /// It says nothing.
    Silent,
    /// It hangs up.
    Closing,
    /// It hangs up in the middle of an answer.
    Halving,
    /// It answers with this status, these headers and this text.
    Saying(u16, &'static str, String),
}

/// A server that is moody.
pub(crate) struct Moody {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    mood: Mood,
    asked: Vec<Instant>,
}

impl Moody {
    /// Starts one. It ends with the tests.
    pub(crate) fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::new(Mutex::new(State { mood, asked: Vec::new() }));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = shared.clone();
                std::thread::spawn(move || _ = serve(stream, &state));
            }
        });
        Self { address, state }
    }

    /// Its address, without a path.
    pub(crate) fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes what it does from now on. Who was asking goes without an answer.
    pub(crate) fn be(&self, mood: Mood) {
        self.state.lock().expect("nobody panics with it").mood = mood;
    }

    /// When it was asked for secrets.
    pub(crate) fn asked(&self) -> Vec<Instant> {
        self.state.lock().expect("nobody panics with it").asked.clone()
    }
}

fn serve(stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut from = BufReader::new(stream.try_clone()?);
    let mut to = stream;
    loop {
        let mut line = String::new();
        if from.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut length = 0;
        loop {
            let mut header = String::new();
            from.read_line(&mut header)?;
            if header.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = header.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        std::io::copy(&mut from.by_ref().take(length), &mut std::io::sink())?;
        let mood = {
            let mut state = state.lock().expect("nobody panics with it");
            if path.contains("/data/") {
                state.asked.push(Instant::now());
            }
            state.mood.clone()
        };
        match mood {
            Mood::Fine(password) => say(&mut to, 200, "", &answer(&path, password).to_string())?,
            Mood::Silent => {
                std::thread::sleep(Duration::from_secs(600));
                return Ok(());
            }
            Mood::Closing => return Ok(()),
            Mood::Halving => {
                return to.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"data\":{\"data\":{\"pass");
            }
            Mood::Saying(status, headers, text) => say(&mut to, status, headers, &text)?,
        }
    }
}

fn say(to: &mut TcpStream, status: u16, headers: &str, text: &str) -> std::io::Result<()> {
    let length = text.len();
    write!(
        to,
        "HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{headers}\r\n{text}"
    )
}

fn answer(path: &str, password: &str) -> Value {
    let data = match path {
        "/v1/auth/token/lookup-self" => json!({"accessor": "accessor-of-nobody", "ttl": 0}),
        _ => json!({"data": {"password": password}, "metadata": {"version": 1}}),
    };
    let auth = path.ends_with("/login").then(|| {
        json!({"client_token": "token-of-nobody", "accessor": "accessor-of-nobody", "lease_duration": 3600, "renewable": true})
    });
    json!({"data": data, "auth": auth})
}
