//! The checks of a maildrop: do STAT, LIST and UIDL agree, and do TOP and RETR send what they tell.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use restante_client::{
    Capabilities, Client, Doubt, Error, Listing, Message, MessageNumber, Offer, Verb, Waiting,
};

use super::check::{Finding, time};

/// How many messages are retrieved.
const SAMPLE_MAX: usize = 5;

/// No message is retrieved that is listed with more octets.
const SAMPLE_MAX_OCTETS: u64 = 256 * 1024;

/// A message that does not end here is not the one that was listed, in octets.
const RETRIEVED_MAX_OCTETS: u64 = 4 * 1024 * 1024;

/// A message that fits into few segments, in octets: its time is that of a round trip.
const SHORT_MAX_OCTETS: u64 = 16 * 1024;

/// How long acknowledgements are held back; who waits for one with Nagle's algorithm loses this.
const DELAYED_ACK: Duration = Duration::from_millis(40);

/// A message to retrieve.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) number: MessageNumber,
    octets: Option<u64>,
}

/// The shortest messages.
pub(super) fn smallest(listing: &Listing) -> Vec<Sample> {
    let mut sample: Vec<Sample> = listing
        .entries()
        .iter()
        .map(|entry| Sample { number: entry.number, octets: entry.octets })
        .filter(|one| one.octets.is_none_or(|octets| octets <= SAMPLE_MAX_OCTETS))
        .collect();
    sample.sort_by_key(|one| (one.octets.unwrap_or(u64::MAX), one.number.get()));
    sample.truncate(SAMPLE_MAX);
    sample
}

/// The first messages, where there is no list.
pub(super) async fn first_ones(client: &mut Client) -> Result<Vec<Sample>, Error> {
    let stat = client.stat().await?;
    let mut sample = Vec::new();
    for number in (1..=stat.messages.min(SAMPLE_MAX as u64)).filter_map(|number| u32::try_from(number).ok()) {
        let Some(number) = MessageNumber::new(number) else { continue };
        let octets = client.size(number).await?;
        sample.push(Sample { number, octets });
    }
    sample.retain(|one| one.octets.is_none_or(|octets| octets <= SAMPLE_MAX_OCTETS));
    Ok(sample)
}

/// STAT, LIST and UIDL.
pub(super) fn listing(listing: &Listing, capabilities: &Capabilities) -> [(&'static str, Finding); 3] {
    [("stat", stat(listing)), ("list", list(listing)), ("uidl", uidl(listing, capabilities))]
}

fn stat(listing: &Listing) -> Finding {
    let told = format!("{} messages", listing.len());
    let found = match listing.octets {
        Some(octets) => Finding::ok(format!("{told}, {octets} octets")),
        None => Finding::ok(told),
    };
    let sum: Option<u64> = listing.entries().iter().map(|entry| entry.octets).sum();
    let found = match (sum, listing.octets) {
        (Some(sum), Some(octets)) if sum != octets => found.and(Finding::warning(
            format!("LIST has {sum} together"),
            "let STAT and LIST count by one rule (RFC 1939 §5, §11)",
        )),
        _ => found,
    };
    let strange = |doubt: &&Doubt| matches!(doubt, Doubt::Stat(_));
    doubted(found, listing.doubts.iter().filter(strange), "let STAT answer with two numbers (RFC 1939 §5)")
}

fn list(listing: &Listing) -> Finding {
    let known = listing.entries().iter().filter(|entry| entry.octets.is_some()).count();
    let strange = |doubt: &&Doubt| {
        matches!(
            doubt,
            Doubt::Line("LIST", _)
                | Doubt::BeyondStat("LIST", _)
                | Doubt::Twice("LIST", _)
                | Doubt::Fewer("LIST", _)
        )
    };
    let found = Finding::ok(format!("{known} messages with their octets"));
    doubted(found, listing.doubts.iter().filter(strange), "mend the server's LIST (RFC 1939 §5)")
}

fn uidl(listing: &Listing, capabilities: &Capabilities) -> Finding {
    if !listing.has_unique_ids {
        return Finding::note("not there, so clients that leave mail on the server cannot know what is new");
    }
    let known = listing.entries().iter().filter(|entry| entry.id.is_some()).count();
    let mut found = Finding::ok(format!("{known} messages with a unique-id"));
    if capabilities.uidl() == Offer::No {
        found = found.and(Finding::note("UIDL is there, though not offered"));
    }
    let strange = |doubt: &&Doubt| {
        matches!(
            doubt,
            Doubt::Line("UIDL", _)
                | Doubt::BeyondStat("UIDL", _)
                | Doubt::Twice("UIDL", _)
                | Doubt::Fewer("UIDL", _)
        )
    };
    let found = doubted(found, listing.doubts.iter().filter(strange), "mend the server's UIDL (RFC 1939 §7)");
    let wrong = listing
        .doubts
        .iter()
        .filter(|doubt| matches!(doubt, Doubt::EmptyId(_) | Doubt::IllegalId(_) | Doubt::SameId(..)));
    few(wrong).into_iter().fold(found, |found, words| {
        const ADVICE: &str =
            "each message needs an id of its own, 1 to 70 octets of 0x21 to 0x7E (RFC 1939 §7)";
        found.and(Finding::fail(words, ADVICE))
    })
}

fn doubted<'d>(found: Finding, doubts: impl Iterator<Item = &'d Doubt>, advice: &'static str) -> Finding {
    few(doubts).into_iter().fold(found, |found, words| found.and(Finding::warning(words, advice)))
}

/// The first ones, and how many more there are.
fn few<'d>(doubts: impl Iterator<Item = &'d Doubt>) -> Vec<String> {
    const TOLD: usize = 3;
    let all: Vec<&Doubt> = doubts.collect();
    let mut told: Vec<String> = all.iter().take(TOLD).map(ToString::to_string).collect();
    if all.len() > TOLD {
        told.push(format!("and {} more of the kind", all.len() - TOLD));
    }
    told
}

/// The check that a listing that failed is told under.
pub(super) const fn blamed(error: &Error) -> &'static str {
    let verb = match error {
        Error::Refused(refused) => refused.verb,
        Error::TimedOut(Waiting::Answer(verb)) => Some(*verb),
        _ => None,
    };
    match verb {
        Some(Verb::Stat) => "stat",
        Some(Verb::Uidl) => "uidl",
        _ => "list",
    }
}

pub(super) fn not_listed(error: &Error, capabilities: &Capabilities) -> Finding {
    let lies = blamed(error) == "uidl" && capabilities.uidl() == Offer::Yes;
    match lies {
        true => Finding::fail(
            format!("offered, but {error}"),
            "mend it, or do not offer UIDL: clients trust it (RFC 2449 §6.8)",
        ),
        false => Finding::fail(error.to_string(), "the mail cannot be listed: look at the server's log"),
    }
}

/// TOP of a message, without a line of its body.
pub(super) async fn top(client: &mut Client, number: MessageNumber) -> Result<(Finding, ()), Error> {
    let offered = client.capabilities().top();
    let begun = Instant::now();
    let mut messages = client.tops([number], 0);
    let Some(mut message) = messages.next().await? else { return Ok((Finding::note("not tried"), ())) };
    let came = match message.read_to_end(SAMPLE_MAX_OCTETS as usize).await {
        Ok(came) => came,
        Err(Error::Refused(refused)) => {
            let finding = match offered {
                Offer::Yes => Finding::fail(
                    format!("offered, but {refused}"),
                    "mend it, or do not offer TOP: clients trust it (RFC 2449 §6.1)",
                ),
                Offer::No | Offer::Unknown => {
                    Finding::note("not there, so lists of headers cost whole messages")
                }
            };
            messages.finish().await?;
            return Ok((finding, ()));
        }
        Err(error) => return Err(error),
    };
    let surplus = message.surplus_octets();
    messages.finish().await?;
    let found = match (surplus, came) {
        (0, Some(_)) => Finding::ok(format!("a header in {}", time(begun.elapsed()))),
        _ => Finding::warning(
            "TOP of no line sends lines of the body all the same",
            "mend the server's TOP (RFC 1939 §7): lists of headers cost whole messages",
        ),
    };
    let found = match offered {
        Offer::No => found.and(Finding::note("TOP is there, though not offered")),
        Offer::Yes | Offer::Unknown => found,
    };
    Ok((found, ()))
}

/// RETR of a few messages one by one; how long each of the short ones took.
pub(super) async fn retr(client: &mut Client, sample: &[Sample]) -> Result<(Finding, Vec<Duration>), Error> {
    const ADVICE: &str = "let LIST tell what RETR sends, with CRLF and without stuffed dots (RFC 1939 §11)";
    let (mut times, mut wrong, mut whole) = (Vec::new(), Vec::new(), 0);
    for one in sample {
        let begun = Instant::now();
        let mut messages = client.message(one.number);
        let Some(mut message) = messages.next().await? else { continue };
        let announced = message.announced();
        let number = one.number;
        match length(&mut message).await {
            Ok(Some(octets)) => {
                messages.finish().await?;
                if octets <= SHORT_MAX_OCTETS {
                    times.push(begun.elapsed());
                }
                whole += 1;
                match one.octets {
                    Some(listed) if octets == 0 && listed > 0 => wrong.push(Finding::fail(
                        format!("message {number} is empty, and was listed with {listed} octets"),
                        "a client would take it for fetched, and delete it",
                    )),
                    Some(listed) if listed != octets => wrong.push(Finding::warning(
                        format!("message {number} has {octets} octets, and was listed with {listed}"),
                        ADVICE,
                    )),
                    _ => {}
                }
                if let Some(announced) = announced.filter(|&announced| announced != octets) {
                    wrong.push(Finding::note(format!(
                        "message {number} was announced with {announced} octets, and had {octets}"
                    )));
                }
            }
            Ok(None) => {
                return Err(Error::Lost(format!(
                    "message {number} does not end within {RETRIEVED_MAX_OCTETS} octets"
                )));
            }
            Err(Error::Refused(refused)) => {
                messages.finish().await?;
                wrong.push(Finding::fail(
                    format!("message {number}: {refused}"),
                    "a message that is listed has to be there: look at the server's log",
                ));
            }
            Err(error) => return Err(error),
        }
    }
    let right = wrong.is_empty();
    let words =
        format!("{whole} of the shortest messages{}", if right { ", each as long as listed" } else { "" });
    Ok((wrong.into_iter().fold(Finding::ok(words), Finding::and), times))
}

/// How long it is; `None` if it does not end.
async fn length(message: &mut Message<'_, '_>) -> Result<Option<u64>, Error> {
    let mut all: u64 = 0;
    while let Some(octets) = message.chunk().await? {
        all += octets.len() as u64;
        if all > RETRIEVED_MAX_OCTETS {
            return Ok(None);
        }
    }
    Ok(Some(all))
}

/// Whether short answers of several pieces wait for an acknowledgement.
pub(super) fn stall(times: &[Duration], noop: Duration) -> Finding {
    let Some(&least) = times.iter().min() else { return Finding::note("there is no short message to time") };
    let more = least.saturating_sub(noop);
    let words = format!("a short message takes {}, a NOOP {}", time(least), time(noop));
    // Clocks and loads are not exact; a longer wait has other reasons.
    match more > DELAYED_ACK.mul_f64(0.85) && more < DELAYED_ACK.mul_f64(2.0) {
        true => Finding::warning(
            words,
            "the server writes an answer in pieces, each waiting for an acknowledgement: set TCP_NODELAY",
        ),
        false => Finding::ok(words),
    }
}

/// Whether messages have the same unique-ids in a later session. Mail comes and goes meanwhile.
pub(super) fn stable(earlier: &Listing, later: &Listing) -> Finding {
    let ids = |listing: &Listing| -> BTreeSet<String> {
        listing
            .entries()
            .iter()
            .filter_map(|entry| entry.id.as_ref())
            .map(|id| id.as_str().to_owned())
            .collect()
    };
    let (earlier, later) = (ids(earlier), ids(later));
    let kept = earlier.intersection(&later).count();
    if earlier.is_empty() {
        return Finding::note("there is no message to compare");
    }
    match (kept, later.is_empty()) {
        (kept, _) if kept == earlier.len() => {
            Finding::ok(format!("all {kept} are the same after a new login"))
        }
        (0, false) => Finding::fail(
            format!("none of {} is there after a new login", earlier.len()),
            "ids have to stay (RFC 1939 §7): clients fetch everything again",
        ),
        _ => Finding::warning(
            format!("{} of {} are not there after a new login", earlier.len() - kept, earlier.len()),
            "another client may have deleted mail just now; else the server removes what is retrieved, or changes ids",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::check::Verdict;

    #[test]
    fn a_wait_for_an_acknowledgement_is_told_from_a_slow_server() {
        let verdict = |milliseconds: &[u64], noop: u64| {
            let times: Vec<_> = milliseconds.iter().map(|&time| Duration::from_millis(time)).collect();
            stall(&times, Duration::from_millis(noop)).verdict
        };
        assert_eq!(verdict(&[41, 42, 90], 1), Verdict::Warning);
        assert_eq!(verdict(&[61, 62], 20), Verdict::Warning);
        assert_eq!(verdict(&[41, 2, 42], 1), Verdict::Ok, "one without a wait is enough");
        assert_eq!(verdict(&[200, 210], 1), Verdict::Ok);
        assert_eq!(verdict(&[], 1), Verdict::Note);
    }
}
