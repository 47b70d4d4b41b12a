//! `/api/v1/verdicts`: what is in force, and over a listener that takes changes more or less of it.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use detector_common::{
    abi::VERDICT_SLOTS_MAX, packet::protocol as number, signature::Signature, verdict::Action,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Shared,
    access::MayChange,
    body::{self, Params},
    plane::Opened,
    problem::{Problem, ProblemKind},
    published::Topic,
    shapes::{NoBody, NoChange},
};
use crate::{
    cli::verdicts::list::Shown,
    enforce::{
        target::{self, Prefix, Target},
        writer::{Order, VerdictError, Writer},
    },
};

/// Which verdicts.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// At most so many, up to 1048576; the default is 1000.
    #[param(maximum = 1048576)]
    limit: Option<usize>,
    /// `true`: expired ones too, which no longer count.
    #[serde(default)]
    expired: bool,
}

/// Verdicts.
#[derive(Serialize, ToSchema)]
pub(super) struct Verdicts {
    /// All that match.
    total: usize,
    /// The newest first.
    verdicts: Vec<Shown>,
}

/// The verdicts, newest first, with what each dropped and let through
#[utoipa::path(get, path = "/api/v1/verdicts", params(Which), responses(
    (status = 200, body = Verdicts),
    (status = 400, body = Problem, content_type = "application/problem+json"),
    (status = 503, body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Params(which): Params<Which>,
) -> Result<Json<Verdicts>, Problem> {
    let limit = body::limit(which.limit, 1000, VERDICT_SLOTS_MAX as usize)?;
    let all = shared.plane.verdicts().await?;
    let mut verdicts: Vec<Shown> = all
        .iter()
        .filter(|one| which.expired || !one.expired)
        .map(|one| one.clone().naming(&shared.published.pods))
        .collect();
    verdicts.sort_by(|a, b| b.created.cmp(&a.created));
    let total = verdicts.len();
    verdicts.truncate(limit);
    Ok(Json(Verdicts { total, verdicts }))
}

/// What is done with the packets.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
enum ActionName {
    /// They pass, whatever later verdicts say.
    Pass,
    /// What exceeds the rate is dropped.
    RateLimit,
    /// All is dropped.
    Drop,
}

/// What packets look like; all that is given must match.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Looks {
    /// Destination addresses, a prefix.
    to: Option<String>,
    /// IP protocol, by name or number.
    protocol: Option<String>,
    /// Source ports, N or N-M.
    sport: Option<String>,
    /// Destination ports, N or N-M.
    dport: Option<String>,
    /// TCP flags that must be set and, with !, must not: syn,!ack.
    flags: Option<String>,
    /// Bytes of payload, N or N-M.
    length: Option<String>,
    /// Packets of established flows too, which are spared otherwise.
    #[serde(default)]
    established_too: bool,
    /// Not flows that come again after their first packet was dropped.
    #[serde(default)]
    spare_returning: bool,
}

/// A verdict that is asked for: on one of `address`, `prefix` and `signature`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Packets from this address.
    #[schema(value_type = Option<String>)]
    address: Option<IpAddr>,
    /// Packets from these addresses.
    prefix: Option<String>,
    /// Packets that look so.
    signature: Option<Looks>,
    /// What is done.
    action: ActionName,
    /// Rate limit: packets a second.
    packets_per_second: Option<u64>,
    /// Rate limit: bytes a second.
    bytes_per_second: Option<u64>,
    /// For how long, s; until removed where it is not given.
    ttl_s: Option<u64>,
    /// Why.
    #[serde(default)]
    reason: String,
}

fn wrong(detail: impl ToString) -> Problem {
    Problem::bad_request(
        "there can be no such verdict",
        detail.to_string(),
        "mend it and ask again",
    )
}

impl Looks {
    fn signature(&self) -> Result<Signature, Problem> {
        let mut signature = Signature::ANY;
        if let Some(to) = &self.to {
            let prefix: Prefix = to.parse().map_err(wrong)?;
            signature.destination = prefix.address();
            signature.destination_mask = prefix.mask();
        }
        let protocol = self.protocol.as_deref().map(target::protocol);
        let protocol = protocol.transpose().map_err(wrong)?;
        let flags = self.flags.as_deref().map(target::flags);
        let flags = flags.transpose().map_err(wrong)?;
        if flags.is_some() && protocol.is_some_and(|protocol| protocol != number::TCP) {
            return Err(wrong("only TCP has flags"));
        }
        if let Some(protocol) = protocol.or(flags.map(|_| number::TCP)) {
            (signature.protocol, signature.any_protocol) = (protocol, 0);
        }
        for (text, place) in [
            (&self.sport, &mut signature.source_ports),
            (&self.dport, &mut signature.destination_ports),
            (&self.length, &mut signature.payload),
        ] {
            if let Some(text) = text {
                *place = target::range(text).map_err(wrong)?;
            }
        }
        (signature.flags_mask, signature.flags) = flags.unwrap_or((0, 0));
        if signature == Signature::ANY {
            return Err(wrong("the signature would match every packet"));
        }
        signature.spare_established = u8::from(!self.established_too);
        signature.spare_returning = u8::from(self.spare_returning);
        Ok(signature)
    }
}

impl Wanted {
    fn order(self) -> Result<Order, Problem> {
        let target = match (self.address, &self.prefix, &self.signature) {
            (Some(address), None, None) => Target::Address(address.to_canonical()),
            (None, Some(prefix), None) => Target::Prefix(prefix.parse().map_err(wrong)?),
            (None, None, Some(looks)) => Target::Signature(looks.signature()?),
            _ => return Err(wrong("give one of address, prefix and signature")),
        };
        if self.reason.chars().any(char::is_control) {
            return Err(wrong("reason: no control characters"));
        }
        Ok(Order {
            target,
            action: match self.action {
                ActionName::Pass => Action::PASS,
                ActionName::RateLimit => Action::RATE_LIMIT,
                ActionName::Drop => Action::DROP,
            },
            packets_per_second: self.packets_per_second.unwrap_or(0),
            bytes_per_second: self.bytes_per_second.unwrap_or(0),
            services: Vec::new(),
            time_to_live: self.ttl_s.map(Duration::from_secs),
            reason: self.reason,
        })
    }
}

fn refused(error: VerdictError) -> Problem {
    match error {
        VerdictError::Order(text) => wrong(text),
        VerdictError::Tables(error) => Problem::no_plane(error.to_string()),
        error => Problem::new(
            ProblemKind::Full,
            "the verdict was not written",
            error.to_string(),
            "remove verdicts first",
        ),
    }
}

fn put(opened: &mut Opened, order: &Order) -> Result<Shown, Problem> {
    let mut writer =
        Writer::new(&opened.pins, &mut opened.tables, &opened.clock).map_err(refused)?;
    let slot = writer.add(order).map_err(refused)?;
    let listed = writer.list().map_err(refused)?;
    drop(writer);
    opened.changed();
    let listed = listed.iter().find(|listed| listed.slot == slot);
    let listed = listed.ok_or_else(|| Problem::internal("the verdict is gone already"))?;
    Ok(opened.shown(listed))
}

fn tell(shared: &Shared, what: &str, verdict: &Shown) {
    let event = serde_json::json!({ "verdict": what, "by": "operator", "shown": verdict });
    shared.published.tell(Topic::Verdict, &event.to_string());
}

/// Write a verdict, in place of any on the same target
#[utoipa::path(post, path = "/api/v1/verdicts", request_body = Wanted, responses(
    (status = 201, body = Shown),
    (status = 507, description = "There is no room for it", body = Problem, content_type = "application/problem+json"),
    NoBody,
    NoChange,
))]
pub(super) async fn add(
    _: MayChange,
    State(shared): State<Arc<Shared>>,
    body: Body,
) -> Result<Response, Problem> {
    let order = body::json::<Wanted>(body).await?.order()?;
    let shown = shared.plane.run(move |opened| put(opened, &order)).await?;
    let shown = shown.naming(&shared.published.pods);
    tell(&shared, "added", &shown);
    Ok((StatusCode::CREATED, Json(shown)).into_response())
}

/// Which verdict is meant.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Meant {
    /// Its target as it was listed: nothing is removed where another verdict has taken the slot meanwhile.
    target: Option<String>,
}

/// Lift the verdict in a slot
#[utoipa::path(delete, path = "/api/v1/verdicts/{slot}", params(("slot" = u32, Path, description = "As listed"), Meant), responses(
    (status = 200, description = "The verdict that was lifted", body = Shown),
    (status = 400, body = Problem, content_type = "application/problem+json"),
    (status = 404, body = Problem, content_type = "application/problem+json"),
    NoChange,
))]
pub(super) async fn remove(
    _: MayChange,
    State(shared): State<Arc<Shared>>,
    Path(slot): Path<String>,
    Params(meant): Params<Meant>,
) -> Result<Json<Shown>, Problem> {
    let slot: u32 = slot
        .parse()
        .map_err(|_| wrong(format!("slot {slot:?} is no number")))?;
    let shown = shared
        .plane
        .run(move |opened| lift(opened, slot, meant.target.as_deref()))
        .await?;
    let shown = shown.naming(&shared.published.pods);
    tell(&shared, "lifted", &shown);
    Ok(Json(shown))
}

fn lift(opened: &mut Opened, slot: u32, meant: Option<&str>) -> Result<Shown, Problem> {
    let writer = Writer::new(&opened.pins, &mut opened.tables, &opened.clock).map_err(refused)?;
    let listed = writer.list().map_err(refused)?;
    drop(writer);
    let listed = listed.iter().find(|listed| listed.slot == slot);
    let shown = listed.map(|listed| opened.shown(listed));
    let Some(shown) = shown.filter(|shown| meant.is_none_or(|meant| shown.target == meant)) else {
        return Err(Problem::new(
            ProblemKind::NoSuchVerdict,
            "there is no such verdict",
            format!("slot {slot} is free, or another verdict's"),
            "list the verdicts again: it may have expired or been lifted",
        ));
    };
    let mut writer =
        Writer::new(&opened.pins, &mut opened.tables, &opened.clock).map_err(refused)?;
    writer.remove_slot(slot).map_err(refused)?;
    drop(writer);
    opened.changed();
    Ok(shown)
}
