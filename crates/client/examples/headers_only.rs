//! Lists who wrote what, and fetches no message for it: TOP with no lines of the body.
//!
//! ```text
//! POP3_PASSWORD=… cargo run -p restante-client --example headers_only -- pop3s://john@mail.example.org
//! ```
//!
//! It shows [`Client::tops`], which gives the header even where a server sends all; [`Message::read_to_end`] with its bound
//! on memory; and a server without TOP.
//!
//! [`Message::read_to_end`]: restante_client::Message::read_to_end
#![allow(clippy::print_stdout)]

use std::{env, error::Error};

use restante_client::{Client, Credentials, Offer, Options, Url};

/// The longest header that is looked at, in octets.
const HEADER_MAX_OCTETS: usize = 64 * 1024;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = Url::parse(&env::args().nth(1).ok_or("a URL, please")?)?;
    let user = url.user.clone().ok_or("the URL names no user")?;
    let password = env::var("POP3_PASSWORD")?;

    let mut client = Client::connect(&url, &Options::default()).await?;
    client.authenticate(&Credentials::new(user, password.into_bytes())).await?;
    let listing = client.listing().await?;
    if client.capabilities().top() == Offer::No {
        return Err("this server knows no TOP".into());
    }
    let mut tops = client.tops(listing.numbers(), 0);
    while let Some(mut top) = tops.next().await? {
        let number = top.number();
        match top.read_to_end(HEADER_MAX_OCTETS).await {
            Ok(Some(header)) => {
                println!("{number}: {} | {}", field(&header, "From"), field(&header, "Subject"));
            }
            Ok(None) => println!("{number}: its header has more than {HEADER_MAX_OCTETS} octets"),
            Err(error) if error.is_fatal() => return Err(error.into()),
            Err(error) => println!("{number}: {error}"),
        }
    }
    client.quit().await?;
    Ok(())
}

/// The first line of a field, as it came: neither folded lines nor encoded words are decoded here.
fn field(header: &[u8], name: &str) -> String {
    let text = String::from_utf8_lossy(header);
    let value = text.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    });
    // A message must not be able to move the cursor.
    value.unwrap_or_default().chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
