//! Deletes what arrived more than 30 days ago.
//!
//! ```text
//! POP3_PASSWORD=… cargo run -p restante-client --example delete_old -- pop3s://john@mail.example.org [--yes]
//! ```
//!
//! POP3 does not tell when a message arrived. The mail server that took it in wrote that down, in the topmost `Received`
//! field, behind the last semicolon (RFC 5321 §4.4); the `Date` field is the sender's and may say anything. A message
//! without such a line, or with one that is not exactly as the RFC has it, is kept.
//!
//! Without `--yes` nothing is deleted. It shows [`Client::tops`], [`Client::delete_all`], and that deleting is done by QUIT:
//! if that fails, nobody may believe that anything is gone.
#![allow(clippy::print_stdout)]

use std::{
    env,
    error::Error,
    time::{SystemTime, UNIX_EPOCH},
};

use restante_client::{Client, Credentials, Options, Url};

const DAYS: i64 = 30;

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// The longest header that is looked at, in octets.
const HEADER_MAX_OCTETS: usize = 64 * 1024;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = Url::parse(&env::args().nth(1).ok_or("a URL, please")?)?;
    let sure = env::args().nth(2).is_some_and(|word| word == "--yes");
    let user = url.user.clone().ok_or("the URL names no user")?;
    let password = env::var("POP3_PASSWORD")?;
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;

    let mut client = Client::connect(&url, &Options::default()).await?;
    client.authenticate(&Credentials::new(user, password.into_bytes())).await?;
    let listing = client.listing().await?;
    let mut old = Vec::new();
    let mut tops = client.tops(listing.numbers(), 0);
    while let Some(mut top) = tops.next().await? {
        let number = top.number();
        let header = match top.read_to_end(HEADER_MAX_OCTETS).await {
            Ok(header) => header.unwrap_or_default(),
            Err(error) if error.is_fatal() => return Err(error.into()),
            Err(_) => continue,
        };
        match received(&String::from_utf8_lossy(&header)) {
            Some(then) if now - then > DAYS * DAY_SECONDS => old.push(number),
            Some(_) => {}
            None => println!("{number} does not say when it arrived, and is kept"),
        }
    }
    if !sure {
        println!("{} of {} are older than {DAYS} days; --yes deletes them", old.len(), listing.len());
        return Ok(client.quit().await?);
    }
    for (number, done) in client.delete_all(old).await? {
        match done {
            Ok(()) => println!("{number} is marked"),
            Err(refused) => println!("{number}: {refused}"),
        }
    }
    // Only now they go.
    client.quit().await?;
    println!("The server has deleted what was marked");
    Ok(())
}

/// When the message arrived, in seconds since 1970.
fn received(header: &str) -> Option<i64> {
    // A field goes on in the lines that begin with a blank.
    let unfolded = header.replace("\r\n ", " ").replace("\r\n\t", " ");
    let top = unfolded
        .lines()
        .find(|line| line.get(..9).is_some_and(|name| name.eq_ignore_ascii_case("received:")))?;
    date(top.rsplit_once(';')?.1)
}

/// `Fri, 21 Nov 1997 09:55:06 -0600`; the day of the week and a comment at the end may be there.
fn date(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = text.split_once('(').map_or(text, |(text, _)| text);
    let text = text.split_once(',').map_or(text, |(_, text)| text);
    let mut words = text.split_ascii_whitespace();
    let mut next = || words.next();
    let (day, month, year, time, zone) = (next()?, next()?, next()?, next()?, next()?);
    if next().is_some() || year.len() != 4 {
        return None;
    }
    let (day, year) = (number(day, 1, 31)?, number(year, 1970, 9999)?);
    let month = i64::try_from(MONTHS.iter().position(|name| name.eq_ignore_ascii_case(month))?).ok()? + 1;
    let mut parts = time.split(':').map(|part| number(part, 0, 60));
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next().unwrap_or(Some(0))?);
    let (sign, zone) = match zone.strip_prefix('-') {
        Some(zone) => (-1, zone),
        None => (1, zone.strip_prefix('+')?),
    };
    let zone = number(zone, 0, 9999).filter(|_| zone.len() == 4)?;
    let offset = sign * (zone / 100 * 3600 + zone % 100 * 60);
    Some(days(year, month, day) * DAY_SECONDS + hour * 3600 + minute * 60 + second - offset)
}

fn number(text: &str, min: i64, max: i64) -> Option<i64> {
    let digits = !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    text.parse().ok().filter(|number| digits && (min..=max).contains(number))
}

/// Days since 1970-01-01 of a day in the Gregorian calendar. Years begin in March here, so that a leap day is the last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_strictly() {
        assert_eq!(date(" Thu, 1 Jan 1970 00:00:00 +0000"), Some(0));
        assert_eq!(date("Fri, 21 Nov 1997 09:55:06 -0600 (CST)"), Some(880_127_706));
        assert_eq!(date("29 Feb 2024 12:00 +0100"), Some(1_709_204_400));
        for text in
            ["", "yesterday", "21 Nov 97 09:55:06 -0600", "21 Nov 1997 09:55:06 CST", "21 Nov 1997 9h +0000"]
        {
            assert_eq!(date(text), None, "{text}");
        }
        assert_eq!(received("To: a\r\nReceived: from b\r\n\tby c; 1 Jan 1970 00:00:10 +0000\r\n"), Some(10));
        assert_eq!(received("Date: Thu, 1 Jan 1970 00:00:00 +0000\r\n"), None, "the sender's own words");
    }
}
