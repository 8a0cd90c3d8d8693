//! What the two hellos of TLS say (RFC 8446 §4.1.2, §4.1.3), as far as a diagram shows it. `tls-parser` reads the
//! messages and knows the names of ciphers.

use restante_proto::dialogue::{TlsFacts, Word};
use tls_parser::{
    SNIType, TlsCipherSuite, TlsExtension, parse_tls_extension_alpn_content, parse_tls_extension_sni_content,
    parse_tls_extension_unknown, parse_tls_handshake_client_hello, parse_tls_handshake_server_hello,
};

/// The most extensions of a hello that are looked at.
const EXTENSIONS_MAX: usize = 256;

const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;

/// The random of a ServerHello that is a HelloRetryRequest (RFC 8446 §4.1.3), behind the two octets of its version.
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2,
    0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// What a client asks for: the highest version that it speaks, the server's name, protocols.
pub(super) fn client(body: &[u8]) -> TlsFacts {
    let Ok((_, hello)) = parse_tls_handshake_client_hello(body) else { return TlsFacts::default() };
    let (mut facts, mut version) = (TlsFacts::default(), hello.version.0);
    for (kind, content) in extensions(hello.ext) {
        match kind {
            SERVER_NAME => facts.name = server_name(content),
            ALPN => facts.alpn = alpn(content),
            SUPPORTED_VERSIONS => {
                let offered = content.get(1..).unwrap_or_default().chunks_exact(2);
                let offered = offered.filter_map(|pair| Some(u16::from_be_bytes(*pair.first_chunk()?)));
                version = offered.filter(|offered| version_name(*offered).is_some()).max().unwrap_or(version);
            }
            _ => {}
        }
    }
    facts.version = version_name(version);
    facts
}

/// What a server chose: version, cipher, protocol.
pub(super) fn server(body: &[u8]) -> TlsFacts {
    let Ok((_, hello)) = parse_tls_handshake_server_hello(body) else { return TlsFacts::default() };
    let (mut facts, mut version) = (TlsFacts::default(), hello.version.0);
    for (kind, content) in extensions(hello.ext) {
        match kind {
            ALPN => facts.alpn = alpn(content),
            SUPPORTED_VERSIONS => {
                version = content.first_chunk().map_or(version, |pair| u16::from_be_bytes(*pair));
            }
            _ => {}
        }
    }
    facts.version = version_name(version);
    let cipher = hello.cipher.0;
    facts.cipher = match TlsCipherSuite::from_id(cipher) {
        Some(known) => Word::new(known.name).ok(),
        None => Word::new(&format!("0x{cipher:04x}")).ok(),
    };
    facts
}

/// Whether what looks like a ServerHello asks the client to begin anew.
pub(super) fn is_retry(body: &[u8]) -> bool {
    body.get(2..).is_some_and(|behind| behind.starts_with(&RETRY))
}

/// The extensions with their numbers. One that cannot be read hides no other.
fn extensions(all: Option<&[u8]>) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = all.unwrap_or_default();
    std::iter::from_fn(move || match parse_tls_extension_unknown(rest) {
        Ok((behind, TlsExtension::Unknown(kind, content))) => {
            rest = behind;
            Some((kind.0, content))
        }
        _ => None,
    })
    .take(EXTENSIONS_MAX)
}

/// The host that the client asks for (RFC 6066 §3).
fn server_name(content: &[u8]) -> Option<Word> {
    let Ok((_, TlsExtension::SNI(names))) = parse_tls_extension_sni_content(content) else { return None };
    let (_, name) = names.into_iter().find(|(kind, _)| *kind == SNIType::HostName)?;
    word(name, b"-._")
}

/// The protocols, separated by commas (RFC 7301 §3.1).
fn alpn(content: &[u8]) -> Option<Word> {
    let Ok((_, TlsExtension::ALPN(names))) = parse_tls_extension_alpn_content(content) else { return None };
    word(&names.join(&b','), b"-._/+,")
}

/// A word of letters, digits and these.
fn word(octets: &[u8], others: &[u8]) -> Option<Word> {
    let legal = octets.iter().all(|octet| octet.is_ascii_alphanumeric() || others.contains(octet));
    Word::new(std::str::from_utf8(octets).ok().filter(|_| legal)?).ok()
}

fn version_name(version: u16) -> Option<Word> {
    let name = match version {
        0x0300 => "SSLv3",
        0x0301 => "TLSv1",
        0x0302 => "TLSv1.1",
        0x0303 => "TLSv1.2",
        0x0304 => "TLSv1.3",
        _ => return None,
    };
    Word::new(name).ok()
}
