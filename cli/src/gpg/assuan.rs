//! The Assuan protocol, as far as a client of gpg-agent speaks it: lines over a Unix socket, each with a deadline.
//!
//! See the manual of libassuan, "Specification of the protocol".

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, connect, socket};
use zeroize::Zeroizing;

/// The longest line of the protocol, without the line feed.
const LINE_LIMIT: usize = 1000;

/// The most that all data lines of one answer may hold: a session key has 32 bytes, a point a few hundred.
const DATA_LIMIT: usize = 1 << 14;

/// The most status lines of one answer that are kept. An agent at work sends a line now and then.
const STATUS_LIMIT: usize = 64;

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AssuanError {
    /// The other side said `ERR`.
    #[error("{text}")]
    Refused {
        /// The number, without the part of GnuPG that it came from (`gpg-error.h`).
        code: u32,
        /// What the other side says about it.
        text: String,
    },
    /// It says nothing.
    #[error("no answer within {} s", .0.as_secs_f32())]
    Silent(Duration),
    /// It has gone.
    #[error("the connection was closed before there was an answer")]
    Closed,
    /// It does not speak the protocol.
    #[error("the answer is none that gpg-agent gives: {0}")]
    Garbled(&'static str),
    /// The socket does not work.
    #[error("{}", crate::error::reason(.0))]
    Io(#[from] io::Error),
}

/// What to say to an inquiry.
pub(crate) enum Reply<'a> {
    /// These bytes.
    Data(&'a [u8]),
    /// Nothing, and a person is being asked now: wait so long from here on.
    Wait(Duration),
    /// That there is no answer.
    Cancel,
}

/// What came before the `OK`.
pub(crate) struct Answer {
    /// The data lines, joined.
    pub data: Zeroizing<Vec<u8>>,
    /// The status lines.
    pub status: Vec<String>,
}

/// A connection, after the greeting.
pub(crate) struct Connection {
    stream: UnixStream,
    /// What was read and not yet used. Of fixed capacity: a vector that grows leaves copies behind.
    buffer: Zeroizing<Vec<u8>>,
}

impl Connection {
    /// Connects and waits for the greeting.
    ///
    /// # Errors
    ///
    /// If nobody listens there, or nobody greets within `patience`.
    pub(crate) fn open(path: &Path, patience: Duration) -> Result<Self, AssuanError> {
        let limit = Limit::new(patience);
        let mut connection = Self { stream: dial(path, &limit)?, buffer: Zeroizing::new(Vec::with_capacity(4096)) };
        connection.answer(limit, &mut |_| Reply::Cancel)?;
        Ok(connection)
    }

    /// Sends a command and waits for its end; `inquiry` is asked what to say when the other side asks.
    ///
    /// # Errors
    ///
    /// If the other side refuses, or has not come to an end within `patience`.
    pub(crate) fn command<'a>(
        &mut self,
        line: &str,
        patience: Duration,
        inquiry: &mut dyn FnMut(&str) -> Reply<'a>,
    ) -> Result<Answer, AssuanError> {
        let limit = Limit::new(patience);
        self.send(line.as_bytes(), &limit)?;
        self.answer(limit, inquiry)
    }

    fn answer<'a>(
        &mut self,
        mut limit: Limit,
        inquiry: &mut dyn FnMut(&str) -> Reply<'a>,
    ) -> Result<Answer, AssuanError> {
        let mut answer = Answer { data: Zeroizing::new(Vec::with_capacity(DATA_LIMIT)), status: Vec::new() };
        loop {
            let line = self.line(&limit)?;
            let (word, rest) = match line.iter().position(|it| *it == b' ') {
                Some(at) => (&line[..at], &line[at + 1..]),
                None => (&line[..], &[][..]),
            };
            match word {
                b"OK" => return Ok(answer),
                b"ERR" => return Err(refused(rest)),
                b"D" => decode(rest, &mut answer.data)?,
                b"S" if answer.status.len() < STATUS_LIMIT => answer.status.push(readable(rest)),
                b"S" => (),
                word if word.starts_with(b"#") => (),
                b"INQUIRE" => match inquiry(&readable(rest)) {
                    Reply::Data(bytes) => {
                        for line in encode(bytes) {
                            self.send(&line, &limit)?;
                        }
                        self.send(b"END", &limit)?;
                    }
                    Reply::Wait(patience) => {
                        limit = Limit::new(patience);
                        self.send(b"END", &limit)?;
                    }
                    Reply::Cancel => self.send(b"CAN", &limit)?,
                },
                _ => return Err(AssuanError::Garbled("a line that is no answer")),
            }
        }
    }

    fn send(&mut self, line: &[u8], limit: &Limit) -> Result<(), AssuanError> {
        debug_assert!(line.len() <= LINE_LIMIT && !line.contains(&b'\n'), "a line has a limit and no end inside");
        self.stream.set_write_timeout(Some(limit.left()?))?;
        self.stream.write_all(&[line, b"\n"].concat()).map_err(|it| limit.explain(it))
    }

    /// Takes the next line out of the buffer, and reads on if there is none.
    fn line(&mut self, limit: &Limit) -> Result<Zeroizing<Vec<u8>>, AssuanError> {
        loop {
            let end = self.buffer.iter().position(|it| *it == b'\n');
            // One more for a carriage return, which some send.
            if end.unwrap_or(self.buffer.len()) > LINE_LIMIT + 1 {
                return Err(AssuanError::Garbled("a line without an end"));
            }
            if let Some(end) = end {
                let line = &self.buffer[..end];
                let line = Zeroizing::new(line.strip_suffix(b"\r").unwrap_or(line).to_vec());
                self.buffer.copy_within(end + 1.., 0);
                let rest = self.buffer.len() - end - 1;
                self.buffer.truncate(rest);
                return Ok(line);
            }
            let mut bytes = Zeroizing::new([0; 1024]);
            self.stream.set_read_timeout(Some(limit.left()?))?;
            match self.stream.read(&mut *bytes) {
                Ok(0) => return Err(AssuanError::Closed),
                Ok(read) => self.buffer.extend_from_slice(&bytes[..read]),
                Err(it) if it.kind() == io::ErrorKind::Interrupted => (),
                Err(it) => return Err(limit.explain(it)),
            }
        }
    }
}

/// How long to wait, from when on.
struct Limit {
    patience: Duration,
    since: Instant,
}

impl Limit {
    fn new(patience: Duration) -> Self {
        Self { patience, since: Instant::now() }
    }

    fn left(&self) -> Result<Duration, AssuanError> {
        let left = self.patience.saturating_sub(self.since.elapsed());
        if left.is_zero() { Err(AssuanError::Silent(self.patience)) } else { Ok(left) }
    }

    fn explain(&self, error: io::Error) -> AssuanError {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => AssuanError::Silent(self.patience),
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => AssuanError::Closed,
            _ => AssuanError::Io(error),
        }
    }
}

/// Connects without waiting for a listener whose queue is full.
fn dial(path: &Path, limit: &Limit) -> Result<UnixStream, AssuanError> {
    let address = SocketAddrUnix::new(path).map_err(io::Error::from)?;
    loop {
        let socket = socket(AddressFamily::UNIX, SocketType::STREAM, None).map_err(io::Error::from)?;
        fcntl_setfd(&socket, FdFlags::CLOEXEC).map_err(io::Error::from)?;
        let stream = UnixStream::from(socket);
        stream.set_nonblocking(true)?;
        match connect(stream.as_fd(), &address) {
            Ok(()) => {
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Err(Errno::AGAIN | Errno::INTR) => {
                limit.left()?;
                thread::sleep(Duration::from_millis(10));
            }
            Err(it) => return Err(io::Error::from(it).into()),
        }
    }
}

/// `ERR 67108881 No secret key <GPG Agent>`: the low half of the number is the code, the rest says
/// which part of GnuPG it came from.
fn refused(rest: &[u8]) -> AssuanError {
    let rest = readable(rest);
    let (number, text) = rest.split_once(' ').unwrap_or((&rest, ""));
    let text = text.split(" <").next().unwrap_or_default().trim();
    match number.parse::<u32>() {
        Ok(number) if text.is_empty() => {
            AssuanError::Refused { code: number & 0xffff, text: format!("error {}", number & 0xffff) }
        }
        Ok(number) => AssuanError::Refused { code: number & 0xffff, text: text.to_owned() },
        Err(_) => AssuanError::Garbled("an error without a number"),
    }
}

/// Text for people, whatever was sent.
fn readable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().map(|it| if it.is_control() { ' ' } else { it }).collect()
}

/// Undoes the percent escapes of a data line.
fn decode(line: &[u8], data: &mut Vec<u8>) -> Result<(), AssuanError> {
    let mut rest = line;
    while let [first, after @ ..] = rest {
        let (byte, next) = match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                let digit = |it: &u8| char::from(*it).to_digit(16);
                let (Some(high), Some(low)) = (digit(high), digit(low)) else {
                    return Err(AssuanError::Garbled("a wrong escape"));
                };
                ((high << 4 | low) as u8, after)
            }
            (b'%', _) => return Err(AssuanError::Garbled("half an escape")),
            (byte, after) => (*byte, after),
        };
        if data.len() == DATA_LIMIT {
            return Err(AssuanError::Garbled("more data than any key has"));
        }
        data.push(byte);
        rest = next;
    }
    Ok(())
}

/// Data lines for `bytes`, with the escapes that the protocol asks for.
fn encode(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut lines = vec![b"D ".to_vec()];
    for byte in bytes {
        let escaped = match byte {
            b'%' => "%25",
            b'\r' => "%0D",
            b'\n' => "%0A",
            _ => "",
        };
        let piece = if escaped.is_empty() { std::slice::from_ref(byte) } else { escaped.as_bytes() };
        if lines.last().is_none_or(|it| it.len() + piece.len() > LINE_LIMIT) {
            lines.push(b"D ".to_vec());
        }
        lines.last_mut().expect("there is always one").extend_from_slice(piece);
    }
    lines
}

/// Text as one word of a command: spaces are `+`, what would end or escape is escaped.
pub(crate) fn word(text: &str) -> String {
    let mut word = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            ' ' => word.push('+'),
            '+' | '%' | '"' => word += &format!("%{:02X}", c as u32),
            c if c.is_ascii_control() => word += &format!("%{:02X}", c as u32),
            c => word.push(c),
        }
    }
    word
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    /// For those who do not answer, and for those who do.
    const SHORT: Duration = Duration::from_millis(300);
    const LONG: Duration = Duration::from_secs(120);

    /// An agent that sends `script` whatever it is told, and what the command comes to; what it was
    /// sent is returned too. `keeps` leaves the connection open at the end.
    fn answer(script: &'static [u8], keeps: bool, patience: Duration) -> (Result<Answer, AssuanError>, String) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("S");
        let listener = UnixListener::bind(&path).expect("a short path");
        let agent = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("somebody comes");
            let sent = stream.write_all(b"OK Pleased to meet you\n").and_then(|()| {
                // One byte at a time: lines come in any pieces.
                script.chunks(1).try_for_each(|it| stream.write_all(it))
            });
            drop(sent);
            if !keeps {
                drop(stream.shutdown(std::net::Shutdown::Write));
            }
            let mut told = String::new();
            drop(stream.read_to_string(&mut told));
            told
        });
        let mut connection = Connection::open(&path, LONG).expect("there is a greeting");
        let result = connection.command("PKDECRYPT", patience, &mut |what| match what {
            "CIPHERTEXT" => Reply::Data(b"(a%\n)"),
            "PINENTRY_LAUNCHED 7 curses" => Reply::Wait(patience),
            _ => Reply::Cancel,
        });
        drop(connection);
        (result, agent.join().expect("the agent ends"))
    }

    #[test]
    fn an_answer_is_put_together_from_its_lines() {
        let script = b"# hello\nS INQUIRE_MAXLEN 4096\nINQUIRE CIPHERTEXT\nINQUIRE PINENTRY_LAUNCHED 7 curses\n\
                       INQUIRE KEYDATA\nD a%0Ab%25\r\nD c\nS PADDING 0\nOK done\n";
        let (result, told) = answer(script, true, LONG);
        let answer = result.unwrap_or_else(|it| panic!("{it}"));
        assert_eq!(*answer.data, b"a\nb%c");
        assert_eq!(answer.status, ["INQUIRE_MAXLEN 4096", "PADDING 0"]);
        assert_eq!(told, "PKDECRYPT\nD (a%25%0A)\nEND\nEND\nCAN\n");
    }

    #[test]
    fn no_answer_is_waited_for_or_taken_beyond_its_limit() {
        let endless: &[u8] = Box::leak([b"D ".as_slice(), &[b'x'; 2000]].concat().into());
        let lines: &[u8] = Box::leak([b"D ".as_slice(), &[b'x'; 900], b"\n"].concat().repeat(20).into());
        let status: &[u8] = Box::leak(b"S PROGRESS\n".repeat(5000).into());
        for (script, keeps, expected) in [
            (b"ERR 67108881 No secret key <GPG Agent>\n".as_slice(), true, "No secret key"),
            (b"ERR 67108881\n", true, "error 17"),
            (b"ERR no\n", true, "the answer is none that gpg-agent gives: an error without a number"),
            (
                b"HTTP/1.1 400 Bad Request\r\n",
                true,
                "the answer is none that gpg-agent gives: a line that is no answer",
            ),
            (b"D a%0", true, "no answer within 0.3 s"),
            (b"D a%0\n", true, "the answer is none that gpg-agent gives: half an escape"),
            (b"D a%zz\n", true, "the answer is none that gpg-agent gives: a wrong escape"),
            (b"", true, "no answer within 0.3 s"),
            (b"", false, "the connection was closed before there was an answer"),
            (b"D abc", false, "the connection was closed before there was an answer"),
            (endless, true, "the answer is none that gpg-agent gives: a line without an end"),
            (lines, true, "the answer is none that gpg-agent gives: more data than any key has"),
            (status, true, "no answer within 0.3 s"),
        ] {
            let what = String::from_utf8_lossy(&script[..script.len().min(20)]).into_owned();
            let patience = if expected.starts_with("no answer within") { SHORT } else { LONG };
            let error = answer(script, keeps, patience).0.err().unwrap_or_else(|| panic!("{what}: no error"));
            assert_eq!(error.to_string(), expected, "{what}");
        }
    }

    #[test]
    fn a_listener_that_never_accepts_is_not_waited_for() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("S");
        let listener = UnixListener::bind(&path).expect("a short path");
        rustix::net::listen(&listener, 0).expect("a queue of one");
        let mut waiting: Vec<_> = Vec::new();
        for _ in 0..4 {
            let error = Connection::open(&path, SHORT).err().expect("nobody greets");
            assert!(matches!(error, AssuanError::Silent(_)), "{error}");
            let limit = Limit::new(Duration::from_millis(20));
            waiting.push(dial(&path, &limit));
        }
        assert!(waiting.iter().any(Result::is_err), "the queue was full");
    }

    #[test]
    fn long_data_goes_in_several_lines_and_words_hold_no_space() {
        let lines = encode(&[b'%'; 1000]);
        assert!(lines.len() > 3 && lines.iter().all(|it| it.len() <= LINE_LIMIT && it.starts_with(b"D ")));
        let mut back = Vec::new();
        for line in &lines {
            decode(&line[2..], &mut back).expect("what is encoded is decoded");
        }
        assert_eq!(back, [b'%'; 1000]);
        assert_eq!(word("a b+\"c%\n"), "a+b%2B%22c%25%0A");
    }
}
