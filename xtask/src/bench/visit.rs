//! A point of three curves: what a listing costs when the server has never seen the drop, when it knows it, and when one
//! message has come since.

use std::{collections::BTreeMap, io, time::Instant};

use serde_json::json;

use super::{
    corpus, let_times_pass,
    measure::{Ground, Run, session, settle},
    server::{Server, Shape},
    told,
};
use crate::run::Failure;

pub(super) fn visit(
    server: &mut Server<'_>,
    name: &'static str,
    warm: u32,
    ground: &mut Ground<'_>,
) -> Result<Run, Failure> {
    let users = ground.users(name)?.clone();
    server.stop();
    let (user, maildir, mut expected);
    match &mut ground.moving {
        Some(moving) if name == super::cells::MOVING => {
            let failed = |error: io::Error| Failure::Failed(format!("the huge drop: {error}"));
            user = moving.give(server, &users).map_err(failed)?;
            maildir = moving.at().to_owned();
            expected = moving.contents;
        }
        _ => {
            user = users.user(1);
            maildir = server.maildir(&user);
            expected = ground.contents.get(&user).copied().unwrap_or_default();
            corpus::forget(&maildir).map_err(|error| told(&maildir, &error))?;
        }
    }
    let_times_pass();
    server.start(Shape::Work)?;
    settle(server)?;
    let password = ground.password;
    // CPU and time of some sessions, each, in milliseconds.
    let sessions = |count: u32, expected| {
        let (before, begun) = (server.cpu_seconds()?, Instant::now());
        (0..count).try_for_each(|_| session(server, &user, expected, password))?;
        let took = begun.elapsed().as_secs_f64();
        settle(server)?;
        let each = 1000.0 / f64::from(count);
        Ok::<_, Failure>(((server.cpu_seconds()? - before) * each, took * each))
    };
    let cold = sessions(1, expected)?;
    let_times_pass();
    // The first one may still write down what is known from now on.
    sessions(1, expected)?;
    let known = sessions(warm, expected)?;
    let number = u32::try_from(expected.messages).unwrap_or(u32::MAX);
    let failed = |error: io::Error| told(&maildir, &error);
    expected.octets += corpus::deliver(&maildir, &users.drop, number).map_err(failed)?;
    expected.messages += 1;
    match &mut ground.moving {
        Some(moving) if name == super::cells::MOVING => moving.contents = expected,
        _ => {
            ground.contents.insert(user.clone(), expected);
        }
    }
    let_times_pass();
    let new = sessions(1, expected)?;
    let further = BTreeMap::from([
        ("warm_ms", known.0),
        ("new_ms", new.0),
        ("cold_wall_ms", cold.1),
        ("warm_wall_ms", known.1),
        ("new_wall_ms", new.1),
    ]);
    Ok(Run {
        value: cold.0,
        cpu_seconds: cold.0 / 1000.0,
        raw: json!({ "messages": expected.messages }),
        further,
        ..Run::default()
    })
}
