//! What a service manager is told (systemd's `sd_notify`): ready, stopping, and while the agent's ticks go on that it lives.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sd_notify::NotifyState;

use super::{Shared, health};

/// So often it is looked whether the agent watches.
const LOOK: Duration = Duration::from_millis(250);
/// An agent that has nothing to attach to yet is as ready as it gets after this.
const READY_AT_LAST: Duration = Duration::from_secs(10);
/// Looks between two signs of life.
const LOOKS_PER_SIGN: u32 = 8;

/// Tells the service manager, if there is one, until the server ends.
pub(super) async fn tell(shared: Arc<Shared>) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let begun = Instant::now();
    let (mut ready, mut looks) = (false, 0u32);
    loop {
        let lacking = health::lacking(&shared);
        let waits = !shared.published.agent.load().attached;
        if !ready && (lacking.is_none() || begun.elapsed() > READY_AT_LAST) {
            ready = true;
            say(&[NotifyState::Ready]);
        }
        // An agent that waits for its interface is well; one whose ticks stand still is not.
        if looks.is_multiple_of(LOOKS_PER_SIGN) && (lacking.is_none() || waits) {
            let status = match &lacking {
                None => "watching".to_owned(),
                Some((what, _)) => what.clone(),
            };
            say(&[NotifyState::Watchdog, NotifyState::Status(&status)]);
        }
        looks = looks.wrapping_add(1);
        tokio::time::sleep(LOOK).await;
    }
}

/// Tells that the agent ends.
pub(super) fn stopping() {
    say(&[NotifyState::Stopping]);
}

fn say(states: &[NotifyState<'_>]) {
    // A service manager that does not listen is no reason to stop.
    let _ = sd_notify::notify(false, states);
}
