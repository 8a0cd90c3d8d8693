//! Clients that come by a proxy: the header of the PROXY protocol, whole and broken, from whom it is taken, and what the
//! client's address counts for.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod world;

use std::{net::SocketAddr, time::Duration};

use restante_server::{Cleartext, Port, Server};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use world::{Client, PATIENCE, Plan, Running, client_config, write_certificate};

const GREETING: &str = "+OK X1 POP3 Server";
const V1: &[u8] = b"PROXY TCP4 192.0.2.7 192.0.2.1 50312 110\r\n";

/// A server behind a proxy at 127.0.0.1.
struct Behind {
    running: Running,
    pop3: SocketAddr,
    pop3s: SocketAddr,
}

fn behind(mut plan: Plan) -> Behind {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    plan.settings.proxied_pop3 = vec![any];
    plan.settings.proxied_pop3s = vec![any];
    if plan.settings.proxies.is_empty() {
        plan.settings.proxies = vec!["127.0.0.1".parse().unwrap()];
    }
    let folder = tempfile::tempdir().unwrap();
    let certificate = write_certificate(folder.path());
    let server = Server::bind(plan.config(folder.path())).unwrap();
    let at = |wanted| server.addresses().into_iter().find(|(_, port)| *port == wanted).unwrap().0;
    let (proxied, proxied_tls) = (at(Port::ProxiedPop3), at(Port::ProxiedPop3s));
    let (pop3, pop3s, handle) = (at(Port::Pop3), at(Port::Pop3s), server.handle());
    let running = Running { pop3, pop3s, handle, server: tokio::spawn(server.run()), certificate, folder };
    Behind { running, pop3: proxied, pop3s: proxied_tls }
}

async fn open(address: SocketAddr, octets: &[u8]) -> Client<TcpStream> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream.write_all(octets).await.unwrap();
    Client::new(stream)
}

/// A header of version 2: command, family and protocol, addresses, and what else it carries.
fn v2(command: u8, family: u8, addresses: &[u8], more: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([0x20 | command, family]);
    header.extend(u16::try_from(addresses.len() + more.len()).unwrap().to_be_bytes());
    header.extend(addresses);
    header.extend(more);
    header
}

/// From 192.0.2.7:50312.
fn v2_inet(more: &[u8]) -> Vec<u8> {
    v2(1, 0x11, &[192, 0, 2, 7, 192, 0, 2, 1, 0xc4, 0x88, 0, 110], more)
}

/// From [2001:db8::7]:50312.
fn v2_inet6() -> Vec<u8> {
    let mut addresses = [0; 36];
    addresses[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    addresses[15] = 7;
    addresses[32..].copy_from_slice(&[0xc4, 0x88, 0, 110]);
    v2(1, 0x21, &addresses, b"")
}

#[tokio::test]
async fn the_client_of_every_header_is_the_peer() {
    let behind = behind(Plan::default());
    let long = V1.to_vec();
    for (header, client) in [
        (long, "192.0.2.7:50312"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 50312 110\r\n".to_vec(), "[2001:db8::7]:50312"),
        (b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:192.0.2.1 50312 110\r\n".to_vec(), "192.0.2.7:50312"),
        (v2_inet(b""), "192.0.2.7:50312"),
        // What a proxy may tell of TLS and more is passed over.
        (v2_inet(&[0x20, 0, 5, 1, 0, 0, 0, 0]), "192.0.2.7:50312"),
        (v2_inet(&[0xff; 2048 - 28]), "192.0.2.7:50312"),
        (v2_inet6(), "[2001:db8::7]:50312"),
    ] {
        let shown = String::from_utf8_lossy(&header).into_owned();
        let mut client_side = open(behind.pop3, &header).await;
        assert_eq!(client_side.line().await, GREETING, "{shown:?}");
        let sessions = behind.running.handle.sessions();
        assert_eq!(sessions.len(), 1, "{shown:?}");
        assert_eq!(sessions[0].client, client.parse().unwrap(), "{shown:?}");
        assert_eq!(sessions[0].port, Port::Pop3);
        assert_eq!(client_side.say("QUIT").await, "+OK POP3 Server saying Good-Bye");
        client_side.rest().await;
        timeout(PATIENCE, async {
            while !behind.running.handle.sessions().is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn a_header_may_come_in_two_pieces_and_commands_with_it() {
    let behind = behind(Plan::default());
    for header in [V1.to_vec(), v2_inet(b"\x04\0\x01x")] {
        for at in 1..header.len() {
            let (before, behind_it) = header.split_at(at);
            let mut client = open(behind.pop3, before).await;
            // The server has read the first piece, or will read both at once: either way it is the same.
            tokio::task::yield_now().await;
            client.send(&[behind_it, b"NOOP\r\nQUIT\r\n"].concat()).await;
            let heard = String::from_utf8(client.rest().await).unwrap();
            assert!(
                heard.starts_with(GREETING) && heard.contains("-ERR") && heard.ends_with("Good-Bye\r\n"),
                "{heard}"
            );
        }
    }
}

#[tokio::test]
async fn a_header_that_breaks_off_begins_no_session() {
    let behind = behind(Plan::default());
    for header in [V1.to_vec(), v2_inet(b"")] {
        for at in 0..header.len() {
            let mut client = open(behind.pop3, &header[..at]).await;
            client.stream.shutdown().await.unwrap();
            assert_eq!(client.rest().await, b"", "cut at {at}");
        }
    }
    assert_eq!(behind.running.handle.totals().ended, 0);
}

#[tokio::test]
async fn what_is_no_header_is_sent_away_at_once() {
    let behind = behind(Plan::default());
    let mut long = b"PROXY UNKNOWN ".to_vec();
    long.resize(107, b'x');
    let mut bare = b"PROXY TCP4 192.0.2.7 192.0.2.1 50312 110\r".to_vec();
    bare.resize(100, b'x');
    bare.extend(b"\r\n");
    let log = world::log();
    for header in [
        b"USER ann\r\n".to_vec(),
        b"\x16\x03\x01".to_vec(),
        b"PROXZ".to_vec(),
        b"\r\n\r\n\0\r\nQUIX".to_vec(),
        b"PROXY TCP4 192.0.2.7 192.0.2.1 50312 110\n".to_vec(),
        b"PROXY TCP4 192.0.2.700 192.0.2.1 50312 110\r\n".to_vec(),
        b"PROXY TCP4 ::1 ::1 50312 110\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 192.0.2.1 70000 110\r\n".to_vec(),
        b"PROXY TCP4\r\n".to_vec(),
        b"proxy TCP4 192.0.2.7 192.0.2.1 50312 110\r\n".to_vec(),
        long,
        bare,
        v2_inet(&[0; 2048 - 27]),
        v2(2, 0x11, &[0; 12], b""),
        v2(1, 0x41, &[0; 12], b""),
        v2(1, 0x11, &[0; 11], b""),
        v2(1, 0x12, &[0; 12], b""),
    ] {
        let mut client = open(behind.pop3, &header).await;
        let shown = String::from_utf8_lossy(&header).into_owned();
        assert_eq!(client.rest().await, b"", "{shown:?}");
    }
    log.shows("no header of a proxy").await;
    assert_eq!(behind.running.handle.totals().ended, 0);
}

#[tokio::test]
async fn who_says_nothing_is_sent_away_in_time() {
    let mut plan = Plan::default();
    plan.settings.limits.tls_handshake = Duration::from_millis(200);
    let behind = behind(plan);
    for header in [&b""[..], &V1[..20]] {
        let mut client = open(behind.pop3, header).await;
        assert_eq!(client.rest().await, b"");
    }
}

#[tokio::test]
async fn those_that_have_not_said_for_whom_they_come_are_bounded() {
    let mut plan = Plan::default();
    plan.settings.limits.connections = 2;
    let behind = behind(plan);
    let _first = open(behind.pop3, b"").await;
    let _second = open(behind.pop3, b"P").await;
    let mut third = open(behind.pop3, b"").await;
    assert!(third.rest().await.starts_with(b"-ERR [SYS/TEMP] too many connections"));
}

#[tokio::test]
async fn the_bound_of_an_address_is_the_clients() {
    let mut plan = Plan::default();
    plan.settings.limits.connections_per_address = 1;
    let behind = behind(plan);
    let mut first = open(behind.pop3, V1).await;
    assert_eq!(first.line().await, GREETING);
    let mut second = open(behind.pop3, &v2_inet(b"")).await;
    assert!(second.rest().await.starts_with(b"-ERR [SYS/TEMP] too many connections"));
    let mut other = open(behind.pop3, &v2_inet6()).await;
    assert_eq!(other.line().await, GREETING);
}

#[tokio::test]
async fn nobody_else_may_send_a_header() {
    let mut plan = Plan::default();
    plan.settings.proxies = vec!["127.0.0.2".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
    let behind = behind(plan);
    let log = world::log();
    let mut client = open(behind.pop3, V1).await;
    assert_eq!(client.rest().await, b"");
    log.shows("connections refused: not from a proxy address=127.0.0.1 limit=\"proxies\"").await;
}

#[tokio::test]
async fn elsewhere_a_header_is_a_bad_command() {
    let behind = behind(Plan::default());
    let mut client = open(behind.running.pop3, V1).await;
    assert_eq!(client.line().await, GREETING);
    assert!(client.line().await.starts_with("-ERR"));
    assert!(behind.running.handle.sessions()[0].client.ip().is_loopback());
}

#[tokio::test]
async fn clear_text_goes_by_the_address_of_the_client() {
    let behind = behind(Plan {
        settings: restante_server::Settings { cleartext: Cleartext::Loopback, ..Plan::default().settings },
        ..Plan::default()
    });
    for (header, taken) in [
        (V1.to_vec(), false),
        (b"PROXY TCP4 127.0.0.9 127.0.0.1 50312 110\r\n".to_vec(), true),
        // A proxy on this machine that does not say for whom it comes may come for anybody.
        (b"PROXY UNKNOWN\r\n".to_vec(), false),
        (b"PROXY UNKNOWN ::1 ::1 1 2\r\n".to_vec(), false),
        (v2(0, 0x00, b"", b""), false),
        (v2(1, 0x00, b"", b""), false),
        (v2(1, 0x31, &[0; 216], b""), false),
    ] {
        let shown = String::from_utf8_lossy(&header).into_owned();
        let mut client = open(behind.pop3, &header).await;
        assert_eq!(client.line().await, GREETING, "{shown:?}");
        assert_eq!(client.say("USER john.doe@anydomain.com").await.starts_with("+OK"), taken, "{shown:?}");
    }
}

#[tokio::test]
async fn a_proxy_that_looks_whether_the_server_is_there_makes_no_noise() {
    let behind = behind(Plan::default());
    let log = world::log();
    for header in [&b""[..], b"PROXY UNKNOWN\r\n", &v2(0, 0, b"", b"")] {
        let mut client = open(behind.pop3, header).await;
        client.stream.shutdown().await.unwrap();
        client.rest().await;
    }
    let mut client = open(behind.pop3, V1).await;
    assert_eq!(client.line().await, GREETING);
    assert_eq!(client.say("QUIT").await, "+OK POP3 Server saying Good-Bye");
    log.shows("session ended").await;
    log.shows("address=192.0.2.7 client_port=50312 proxy=127.0.0.1").await;
    let text = log.text();
    assert_eq!(text.matches("session ended").count(), 1, "{text}");
    assert!(!text.contains("refused"), "{text}");
}

#[tokio::test]
async fn the_header_comes_before_tls() {
    let behind = behind(Plan::default());
    let config = client_config(&behind.running.certificate, &[b"pop3"], rustls::ALL_VERSIONS);
    for header in [V1.to_vec(), v2_inet6()] {
        let client = open(behind.pop3s, &header).await;
        let mut client = client.secure(config.clone()).await.unwrap();
        assert_eq!(client.line().await, GREETING);
        client.log_in().await;
        assert_eq!(client.say("QUIT").await, "+OK POP3 Server saying Good-Bye");
    }
    // And inside of it, it is none.
    let mut stream = TcpStream::connect(behind.pop3s).await.unwrap();
    stream.write_all(b"\x16\x03\x01\0\x05").await.unwrap();
    let mut rest = Vec::new();
    let _reset = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest, b"");
}

#[tokio::test]
async fn who_waits_for_a_header_does_not_keep_the_server() {
    let behind = behind(Plan::default());
    let mut waiting = open(behind.pop3, b"PROXY").await;
    behind.running.handle.stop().await;
    timeout(PATIENCE, behind.running.server).await.unwrap().unwrap();
    assert_eq!(waiting.rest().await, b"");
}

/// Who reads the log and bans the address would ban the proxy.
#[tokio::test]
async fn a_login_that_fails_is_marked_where_the_proxy_does_not_say_for_whom_it_comes() {
    let log = world::log();
    let mut plan = Plan::default();
    plan.settings.cleartext = Cleartext::Always;
    let behind = behind(plan);
    for (header, line) in [
        (b"PROXY UNKNOWN\r\n".as_slice(), "why=\"credentials\" via=\"proxy\"\n"),
        (
            V1,
            "address=192.0.2.7 user=\"(unknown user)\" by=\"PASS\" mechanism=\"USER\" why=\"credentials\"\n",
        ),
    ] {
        let mut client = open(behind.pop3, header).await;
        assert_eq!(client.line().await, GREETING);
        client.say("USER nobody").await;
        assert!(client.say("PASS wrong").await.starts_with("-ERR [AUTH]"));
        log.shows(line).await;
    }
}
