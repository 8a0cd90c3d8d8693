//! Fetches everything into a folder, one file a message, and deletes nothing.
//!
//! ```text
//! POP3_PASSWORD=… cargo run -p restante-client --example fetch_all -- pop3s://john@mail.example.org FOLDER
//! ```
//!
//! It shows the way of a message: [`Client::messages`] pipelines where the server allows it, each message streams in pieces,
//! and one that the server refuses does not stop the others.
#![allow(clippy::print_stdout)]

use std::{env, error::Error, path::PathBuf};

use restante_client::{Client, Credentials, Options, Url};
use tokio::{
    fs::{self, File},
    io::AsyncWriteExt as _,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let url = Url::parse(&arguments.next().ok_or("a URL, please")?)?;
    let folder = PathBuf::from(arguments.next().ok_or("a folder, please")?);
    let user = url.user.clone().ok_or("the URL names no user")?;
    let password = env::var("POP3_PASSWORD")?;

    let mut client = Client::connect(&url, &Options::default()).await?;
    client.authenticate(&Credentials::new(user, password.into_bytes())).await?;
    let listing = client.listing().await?;
    for doubt in &listing.doubts {
        println!("The server contradicts itself: {doubt}");
    }

    // Such a server deletes at QUIT what was retrieved (RFC 2449 §6.7).
    let deletes = client.capabilities().expire() == Some(Some(0));
    let mut messages = client.messages(listing.numbers());
    while let Some(mut message) = messages.next().await? {
        let path = folder.join(format!("{}.eml", message.number()));
        // It gets its name when it is whole.
        let part = folder.join(format!("{}.part", message.number()));
        let mut file = File::create(&part).await?;
        let whole = loop {
            match message.chunk().await {
                Ok(Some(octets)) => file.write_all(octets).await?,
                Ok(None) => break true,
                // Fatal errors end the session; a refusal concerns this message only.
                Err(error) if error.is_fatal() => return Err(error.into()),
                Err(error) => {
                    println!("{}: {error}", message.number());
                    break false;
                }
            }
        };
        if !whole {
            fs::remove_file(&part).await?;
            continue;
        }
        file.sync_all().await?;
        fs::rename(&part, &path).await?;
        println!("{}", path.display());
    }
    if deletes {
        println!("The server deletes what is retrieved, so the session ends without QUIT.");
    } else {
        client.quit().await?;
    }
    Ok(())
}
