//! The delaying proxy: nothing is lost or changed, nothing arrives too early, cuts and silences come where they were
//! asked for, and it ends when it is dropped.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

use std::{
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use restante_testkit::proxy::{Connections, Direction, Plan, Proxy};

/// The longest that a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server that answers with what it hears, and ends its half when the client has ended its own. It serves so many
/// connections.
fn echo(connections: usize) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = move || {
        for _ in 0..connections {
            let (socket, _) = listener.accept().unwrap();
            // Cut off, if the test is about that.
            drop(io::copy(&mut &socket, &mut &socket));
            drop(socket.shutdown(Shutdown::Write));
        }
    };
    (address, thread::spawn(serve))
}

fn connect(proxy: &Proxy) -> TcpStream {
    let socket = TcpStream::connect(proxy.address()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// All that comes until the other side ends, in whatever way.
fn read_to_end(mut socket: &TcpStream) -> Vec<u8> {
    let mut heard = Vec::new();
    if let Err(fault) = socket.read_to_end(&mut heard) {
        assert_eq!(fault.kind(), ErrorKind::ConnectionReset, "{fault}");
    }
    heard
}

fn pattern(octets: usize) -> Vec<u8> {
    (0..octets).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

#[test]
fn everything_passes_and_an_end_ends_one_half() {
    for delay_each_way in [Duration::ZERO, Duration::from_millis(5)] {
        let (upstream, server) = echo(1);
        let proxy = Proxy::start(upstream, Plan { delay_each_way, ..Plan::default() });
        let socket = connect(&proxy);
        let said = pattern(3_000_001);
        thread::scope(|scope| {
            scope.spawn(|| {
                (&socket).write_all(&said).unwrap();
                socket.shutdown(Shutdown::Write).unwrap();
            });
            assert!(read_to_end(&socket) == said);
        });
        server.join().unwrap();
        assert_eq!(proxy.connections(), 1);
        for direction in [Direction::ToServer, Direction::ToClient] {
            assert_eq!(proxy.passed_on(direction), 3_000_001);
        }
    }
}

#[test]
fn nothing_arrives_too_early() {
    let delay = Duration::from_millis(15);
    let (upstream, server) = echo(1);
    let proxy = Proxy::start(upstream, Plan { delay_each_way: delay, ..Plan::default() });
    let began = Instant::now();
    let mut socket = connect(&proxy);
    let mut answer = [0];
    for round in 1..=4 {
        let asked = Instant::now();
        socket.write_all(b"?").unwrap();
        socket.read_exact(&mut answer).unwrap();
        assert!(asked.elapsed() >= 2 * delay, "round {round}: {:?}", asked.elapsed());
        // The connection itself took a round trip too.
        assert!(began.elapsed() >= 2 * (round + 1) * delay, "round {round}: {:?}", began.elapsed());
    }
    drop(socket);
    server.join().unwrap();
}

#[test]
fn a_server_that_speaks_first_is_heard_two_round_trips_later() {
    let delay = Duration::from_millis(15);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let plan = Plan { delay_each_way: delay, ..Plan::default() };
    let proxy = Proxy::start(listener.local_addr().unwrap(), plan);
    let began = Instant::now();
    let mut socket = connect(&proxy);
    listener.accept().unwrap().0.write_all(b"+OK\r\n").unwrap();
    socket.read_exact(&mut [0; 5]).unwrap();
    assert!(began.elapsed() >= 4 * delay, "{:?}", began.elapsed());
}

#[test]
fn a_narrow_link_takes_its_time() {
    let (upstream, server) = echo(1);
    let proxy = Proxy::start(upstream, Plan { octets_per_second: Some(1_000_000), ..Plan::default() });
    let mut socket = connect(&proxy);
    let began = Instant::now();
    let said = pattern(100_000);
    socket.write_all(&said).unwrap();
    socket.shutdown(Shutdown::Write).unwrap();
    assert!(read_to_end(&socket) == said);
    // All but the last slice had to wait.
    assert!(began.elapsed() >= Duration::from_millis(90), "{:?}", began.elapsed());
    server.join().unwrap();
}

#[test]
fn a_cut_comes_after_exactly_so_many_octets() {
    for octets in [0, 1, 7, 5_000] {
        let (upstream, server) = echo(2);
        let plan = |direction| Plan {
            cut_after_octets: Some((direction, octets)),
            faults_on: Connections::First,
            ..Plan::default()
        };
        let proxy = Proxy::start(upstream, plan(Direction::ToClient));
        let mut socket = connect(&proxy);
        // It may be cut already.
        drop(socket.write_all(&pattern(10_000)));
        assert_eq!(read_to_end(&socket).len() as u64, octets);
        assert_eq!(proxy.passed_on(Direction::ToClient), octets);
        // The first connection only.
        let mut second = connect(&proxy);
        second.write_all(&pattern(10_000)).unwrap();
        second.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&second).len(), 10_000);
        server.join().unwrap();

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy::start(listener.local_addr().unwrap(), plan(Direction::ToServer));
        let mut socket = connect(&proxy);
        drop(socket.write_all(&pattern(10_000)));
        let (server, _) = listener.accept().unwrap();
        assert_eq!(read_to_end(&server).len() as u64, octets);
        assert_eq!(read_to_end(&socket), b"");
        assert_eq!(proxy.passed_on(Direction::ToServer), octets);
    }
}

#[test]
fn a_silence_is_silent_in_both_directions() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let plan = Plan { stall_after_octets: Some((Direction::ToClient, 3)), ..Plan::default() };
    let proxy = Proxy::start(listener.local_addr().unwrap(), plan);
    let mut client = connect(&proxy);
    let (mut server, _) = listener.accept().unwrap();
    server.write_all(b"+OK\r\n").unwrap();
    client.read_exact(&mut [0; 3]).unwrap();
    client.write_all(b"QUIT\r\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    for socket in [&mut client, &mut server] {
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let fault = socket.read(&mut [0; 8]).unwrap_err();
        assert!(matches!(fault.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{fault}");
    }
    // Even that ends with the proxy.
    drop(proxy);
    for socket in [client, server] {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(read_to_end(&socket), b"");
    }
}

#[test]
fn a_server_that_is_not_there_ends_the_connection() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = Proxy::start(gone, Plan::default());
    assert_eq!(read_to_end(&connect(&proxy)), b"");
}

#[test]
fn dropped_it_ends_with_all_of_its_threads() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let plan = Plan { delay_each_way: Duration::from_secs(3600), ..Plan::default() };
    let slow = Proxy::start(listener.local_addr().unwrap(), plan);
    let quick = Proxy::start(listener.local_addr().unwrap(), Plan::default());
    let mut waiting = connect(&slow);
    waiting.write_all(b"CAPA\r\n").unwrap();
    let busy = connect(&quick);
    let (server, _) = listener.accept().unwrap();
    let addresses = [slow.address(), quick.address()];
    let began = Instant::now();
    drop((slow, quick));
    assert!(began.elapsed() < PATIENCE);
    for socket in [&waiting, &busy, &server] {
        assert_eq!(read_to_end(socket), b"");
    }
    for address in addresses {
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }
}

#[test]
fn the_program_tells_its_address_and_ends_with_its_input() {
    let (upstream, server) = echo(1);
    let mut program = Command::new(env!("CARGO_BIN_EXE_delay-proxy"))
        .args(["--listen", "127.0.0.1:0", "--delay-ms", "1", "--to", &upstream.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(program.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let mut socket = TcpStream::connect(line.trim_end()).unwrap();
    socket.write_all(b"through").unwrap();
    socket.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&socket), b"through");
    server.join().unwrap();
    drop(program.stdin.take());
    assert!(program.wait().unwrap().success());
}

#[test]
fn the_program_says_what_is_wrong_with_its_arguments() {
    for arguments in [&["--to"][..], &["--delay-ms", "1"], &["--to", "127.0.0.1:1", "--delay-ms", "x"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_delay-proxy")).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8(output.stderr).unwrap().contains("usage: delay-proxy"));
    }
}
