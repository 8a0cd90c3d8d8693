//! How many connections there may be: in all, and from one address.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use restante_auth::network;

use crate::settings::Limits;

/// How often refusals are logged at most.
const REFUSALS_LOGGED_EVERY: Duration = Duration::from_secs(10);

/// Counts connections.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_network: HashMap<IpAddr, usize>,
}

/// A place inside; dropping it leaves.
#[derive(Debug)]
pub(crate) struct Place {
    gate: Arc<Gate>,
    /// `None` as long as it is not known who the client of a proxy is.
    network: Option<IpAddr>,
}

/// Which limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    Connections,
    ConnectionsPerAddress,
}

impl Full {
    /// The setting's name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::ConnectionsPerAddress => "connections_per_address",
        }
    }
}

/// Keeps a flood of refusals from flooding the log.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    since: Mutex<(Option<Instant>, u64)>,
}

impl Refusals {
    /// Counts a refusal; how many there were since the last time that one was to be logged, if this one is to be.
    pub(crate) fn count(&self, now: Instant) -> Option<u64> {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, count) = &mut *since;
        *count += 1;
        if last.is_some_and(|last| now.duration_since(last) < REFUSALS_LOGGED_EVERY) {
            return None;
        }
        *last = Some(now);
        Some(std::mem::take(count))
    }
}

impl Gate {
    /// Lets a connection in, or says which limit it would cross.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr, limits: &Limits) -> Result<Place, Full> {
        self.enter_unnamed(limits)?.named(address, limits)
    }

    /// Lets the connection of a proxy in, whose client is not known yet.
    pub(crate) fn enter_unnamed(self: &Arc<Self>, limits: &Limits) -> Result<Place, Full> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.all >= limits.connections {
            return Err(Full::Connections);
        }
        counts.all += 1;
        Ok(Place { gate: Arc::clone(self), network: None })
    }
}

impl Place {
    /// It is this client's, if he may have one more.
    pub(crate) fn named(mut self, address: IpAddr, limits: &Limits) -> Result<Self, Full> {
        let network = network(address);
        {
            let mut counts = self.gate.counts.lock().unwrap_or_else(PoisonError::into_inner);
            let here = counts.by_network.get(&network).copied().unwrap_or(0);
            if here >= limits.connections_per_address {
                drop(counts);
                return Err(Full::ConnectionsPerAddress);
            }
            counts.by_network.insert(network, here + 1);
        }
        self.network = Some(network);
        Ok(self)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.gate.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1; // entered once, left once
        let Some(network) = self.network else { return };
        if let Some(here) = counts.by_network.get_mut(&network) {
            *here -= 1;
            if *here == 0 {
                counts.by_network.remove(&network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_refusals_is_logged_now_and_then() {
        let (refusals, begin) = (Refusals::default(), Instant::now());
        let logged: Vec<_> =
            (0..250).filter_map(|n| refusals.count(begin + Duration::from_millis(n * 100))).collect();
        assert_eq!(logged, [1, 100, 100]);
    }

    #[test]
    fn both_limits_hold_and_places_come_back() {
        let gate = Arc::new(Gate::default());
        let limits = Limits { connections: 3, connections_per_address: 2, ..Limits::default() };
        let [one, two]: [IpAddr; 2] = ["2001:db8::1".parse().unwrap(), "192.0.2.1".parse().unwrap()];
        let neighbour: IpAddr = "2001:db8::2".parse().unwrap();
        let first = gate.enter(one, &limits).unwrap();
        let _second = gate.enter(neighbour, &limits).unwrap();
        assert_eq!(gate.enter(one, &limits).unwrap_err(), Full::ConnectionsPerAddress, "one /64");
        let _third = gate.enter(two, &limits).unwrap();
        assert_eq!(gate.enter("::ffff:192.0.2.1".parse().unwrap(), &limits).unwrap_err(), Full::Connections);
        drop(first);
        assert!(gate.enter(two, &limits).is_ok());
        assert_eq!(gate.counts.lock().unwrap().by_network.len(), 2);
    }
}
