//! An mbox as crashes and other programs may have left it.

use super::*;

const NAME: &str = "20261128T095227.123456Z-a1b2c3d4e5f6";
const BEFORE: &str = "From a Thu Jan  1 00:00:00 1970\nSubject: before\n\n";
const OURS: &str = "From b Thu Jan  1 00:00:01 1970\nSubject: From ours\n\nbody\n\n";
const OTHERS: &str = "From c Thu Jan  1 00:00:02 1970\nSubject: another's\n\nmail\n\n";

/// What becomes of an mbox with this behind [`BEFORE`]: the fate, and what then stands there.
fn recovered(before: &str, then: &str, prefix: u8) -> (Fate, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("box");
    fs::write(&path, before).unwrap();
    let spool_path = folder.path().join("spool");
    fs::write(&spool_path, OURS).unwrap();
    let (spool, mbox) =
        (File::open(&spool_path).unwrap(), File::options().read(true).write(true).open(&path).unwrap());
    let base = before.len() as u64;
    let ticket = Ticket {
        name: NAME.to_owned(),
        base,
        at: base,
        prefix,
        octets: OURS.len() as u64,
        tail: tail(&mbox, base).unwrap(),
    };
    assert_eq!(Ticket::parse(&ticket.token().unwrap()).unwrap(), ticket);
    mbox.write_all_at(then.as_bytes(), base).unwrap();
    let dots = Folder::open(folder.path(), "box.").unwrap();
    let place = Place { folder: &dots, path: &path, mbox: &mbox };
    let fate = place.recover(&ticket, &spool).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    // Asked again, it says the same.
    assert_eq!(place.recover(&ticket, &spool).unwrap(), fate);
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing else is left");
    (fate, text)
}

#[test]
fn a_part_at_the_end_is_cut_off_wherever_it_ends() {
    for end in 0..OURS.len() {
        assert_eq!(recovered(BEFORE, &OURS[..end], 0), (Fate::NotDelivered, BEFORE.to_owned()), "{end}");
    }
    assert_eq!(recovered(BEFORE, OURS, 0), (Fate::Delivered, format!("{BEFORE}{OURS}")));
    assert_eq!(recovered("", OURS, 0), (Fate::Delivered, OURS.to_owned()));
}

#[test]
fn anothers_mail_behind_a_part_is_kept_wherever_the_part_ends() {
    for end in 0..OURS.len() {
        for others in [OTHERS.to_owned(), format!("\n{OTHERS}")] {
            let then = format!("{}{others}", &OURS[..end]);
            let (fate, text) = recovered(BEFORE, &then, 0);
            if then.starts_with(OURS) {
                // Another's line end is the one that was missing.
                assert_eq!((fate, text), (Fate::Delivered, format!("{BEFORE}{then}")));
                continue;
            }
            assert_eq!(fate, Fate::NotDelivered, "{end}");
            assert!(text.starts_with(BEFORE) && text.ends_with(OTHERS), "{end}: {text}");
            let between = &text[BEFORE.len()..text.len() - OTHERS.len()];
            assert!(between.bytes().all(|octet| octet == b'\n'), "{end}: {text}");
        }
    }
    let whole = format!("{OURS}{OTHERS}");
    assert_eq!(recovered(BEFORE, &whole, 0), (Fate::Delivered, format!("{BEFORE}{whole}")));
}

#[test]
fn line_ends_that_were_supplied_are_cut_off_too_unless_anothers_mail_needs_them() {
    let before = BEFORE.trim_end();
    for end in 0..OURS.len() {
        let part = format!("\n\n{}", &OURS[..end]);
        assert_eq!(recovered(before, &part, 2), (Fate::NotDelivered, before.to_owned()), "{end}");
        let (fate, text) = recovered(before, &format!("{part}{OTHERS}"), 2);
        assert_eq!((fate, text), (Fate::NotDelivered, format!("{before}\n\n{OTHERS}")), "{end}");
    }
    assert_eq!(recovered(before, &format!("\n\n{OURS}"), 2).0, Fate::Delivered);
}

#[test]
fn an_mbox_that_was_rewritten_is_searched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("box");
    let spool_path = folder.path().join("spool");
    fs::write(&spool_path, OURS).unwrap();
    let spool = File::open(&spool_path).unwrap();
    let dots = Folder::open(folder.path(), "box.").unwrap();
    let ticket =
        Ticket { name: NAME.to_owned(), base: 500, at: 700, prefix: 1, octets: OURS.len() as u64, tail: 1 };
    let long = format!("{}{OTHERS}{OURS}", OTHERS.repeat(2000));
    let altered = OURS.replace("ours\n", "ours\nStatus: RO\n");
    for (text, delivered) in
        [(format!("{OTHERS}{OURS}"), true), (long, true), (altered, false), (String::new(), false)]
    {
        fs::write(&path, &text).unwrap();
        let mbox = File::options().read(true).write(true).open(&path).unwrap();
        let fate = Place { folder: &dots, path: &path, mbox: &mbox }.recover(&ticket, &spool).unwrap();
        assert_eq!(fate == Fate::Delivered, delivered, "{fate:?}");
        assert!(delivered || matches!(fate, Fate::Unknown(_)));
        assert_eq!(fs::read_to_string(&path).unwrap(), text, "nothing is touched");
    }
    // Only ours was altered, in its place: it is not taken for a part.
    let altered = OURS.replace("ours\n", "ours\nStatus: RO\n");
    assert!(matches!(recovered(BEFORE, &altered, 0).0, Fate::Unknown(_)));
}

#[test]
fn a_redo_that_was_interrupted_anywhere_is_completed_whatever_was_appended_since() {
    let removed = "From b Thu Jan  1 00:00:01 1970\nSub";
    let more = "\nFrom d Thu Jan  1 00:00:03 1970\nSubject: more\n\n";
    let start = format!("{BEFORE}{removed}{OTHERS}");
    let (to, from, end) = (BEFORE.len(), BEFORE.len() + removed.len(), start.len());
    // So many octets were moved; or it was cut already.
    for moved in (0..=OTHERS.len()).chain([usize::MAX]) {
        for appended in ["", more] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("box");
            fs::write(&path, &start).unwrap();
            let mbox = File::options().read(true).write(true).open(&path).unwrap();
            let dots = Folder::open(folder.path(), "box.").unwrap();
            let place = Place { folder: &dots, path: &path, mbox: &mbox };
            let redo = Redo { to: to as u64, from: from as u64, end: end as u64 };
            place.write_redo(NAME, redo).unwrap();
            let octets = moved.min(OTHERS.len());
            mbox.write_all_at(&OTHERS.as_bytes()[..octets], to as u64).unwrap();
            if moved == usize::MAX {
                mbox.set_len(redo.new_end()).unwrap();
            }
            mbox.write_all_at(appended.as_bytes(), mbox.metadata().unwrap().len()).unwrap();
            place.redo(NAME).unwrap();
            let text = fs::read_to_string(&path).unwrap();
            assert_eq!(text, format!("{BEFORE}{OTHERS}{appended}"), "{moved}");
            place.redo(NAME).unwrap();
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        }
    }
}
