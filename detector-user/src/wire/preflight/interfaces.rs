//! Interfaces: whether XDP runs in the driver, and who holds the hook.

use super::Check;
use crate::wire::{
    holder,
    interface::Interface,
    link,
    nic::{self, XdpSupport},
    pins::Pins,
};

/// A page less what XDP and the kernel keep of it: the largest packet of one buffer.
const SINGLE_BUFFER_MTU_MAX: u32 = 3498;

pub(super) fn checks(pins: &Pins, interface: &Interface, named: bool) -> Vec<Check> {
    let name = &interface.name;
    let found = Found {
        driver: nic::driver(name),
        mtu: nic::mtu(name),
        support: nic::xdp_support(interface.index),
    };
    vec![driver(name, &found), hook(pins, interface, named)]
}

struct Found {
    driver: Option<String>,
    mtu: Option<u32>,
    support: Option<XdpSupport>,
}

fn driver(name: &str, found: &Found) -> Check {
    let why =
        "native XDP acts before the kernel has made a packet buffer; generic XDP after, and slower";
    let subject = format!("{name} driver");
    let shown = found.driver.as_deref().unwrap_or("none");
    let mtu = found.mtu.map_or("?".to_owned(), |mtu| mtu.to_string());
    let generic = "it is attached in generic mode; for native XDP use a driver that has it";
    let known = found.driver.as_deref().is_some_and(nic::is_known_native);
    match found.support {
        Some(XdpSupport {
            native: true,
            multi_buffer,
        }) => {
            let jumbo = found.mtu.is_some_and(|mtu| mtu > SINGLE_BUFFER_MTU_MAX);
            let kind = if multi_buffer {
                "native XDP, multi-buffer"
            } else {
                "native XDP"
            };
            let check = Check::ok(subject, format!("{shown}: {kind}; MTU {mtu}"), why);
            if jumbo && !multi_buffer {
                check.warn(format!(
                    "this driver takes no frame of several buffers, so it is likely to refuse native \
                     XDP; set an MTU of at most {SINGLE_BUFFER_MTU_MAX}"
                ))
            } else {
                check
            }
        }
        Some(XdpSupport { native: false, .. }) => {
            Check::ok(subject, format!("{shown}: no native XDP; MTU {mtu}"), why).warn(generic)
        }
        None if known => Check::ok(
            subject,
            format!(
                "{shown}: native XDP is likely (before Linux 6.3 the driver does not tell); MTU {mtu}"
            ),
            why,
        ),
        None => Check::ok(
            subject,
            format!("{shown}: not known to have native XDP; MTU {mtu}"),
            why,
        )
        .warn(generic),
    }
}

fn hook(pins: &Pins, interface: &Interface, named: bool) -> Check {
    let why = "an interface runs one XDP program, unless a dispatcher combines several";
    let name = &interface.name;
    let subject = format!("{name} hook");
    let Some(id) = holder::program_id(interface.index) else {
        return Check::ok(subject, "free", why);
    };
    match link::read(&pins.ingress(interface.index)) {
        Ok(Some(hang)) if hang.program == id => {
            return Check::ok(
                subject,
                format!("held by this detector (program id {id})"),
                why,
            );
        }
        Ok(_) => {}
        Err(cause) => {
            let found = format!("held by program id {id}; whether it is this detector's: {cause}");
            return Check::ok(subject, found, why)
                .warn("ask again as root, or as the user that the pins belong to");
        }
    }
    let check = Check::ok(
        subject,
        format!("held by another XDP program{}", holder::describe(interface)),
        why,
    );
    let remedy = format!(
        "it is left alone, and attaching here fails; detach it with the tool that put it there (`bpftool net` \
         and `bpftool link` show it; what hangs by no link goes with `ip link set dev {name} xdp off`)"
    );
    if named {
        check.fail(remedy)
    } else {
        check.warn(remedy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::preflight::State;

    #[test]
    fn drivers_are_judged_by_what_they_say() {
        let judge = |name: Option<&str>, mtu, support: Option<(bool, bool)>| {
            let found = Found {
                driver: name.map(str::to_owned),
                mtu: Some(mtu),
                support: support.map(|(native, multi_buffer)| XdpSupport {
                    native,
                    multi_buffer,
                }),
            };
            driver("eth0", &found).state
        };
        assert_eq!(judge(Some("veth"), 1500, Some((true, true))), State::Ok);
        assert_eq!(judge(Some("veth"), 9000, Some((true, true))), State::Ok);
        assert_eq!(judge(Some("igb"), 9000, Some((true, false))), State::Warn);
        assert_eq!(
            judge(Some("e1000e"), 1500, Some((false, false))),
            State::Warn
        );
        assert_eq!(judge(Some("virtio_net"), 1500, None), State::Ok);
        assert_eq!(judge(Some("e1000e"), 1500, None), State::Warn);
        assert_eq!(judge(None, 65_536, None), State::Warn);
    }
}
