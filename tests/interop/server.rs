//! A server that creates, opens the region to its group, waits until a client has come and all have gone, and removes.

use std::sync::atomic::Ordering;
use std::time::Duration;

use shared_region::{CreateOptions, ErrorKind, OpenOptions, RegionId, SharedRegion, SharedRegionExt};

use crate::support::{Meeting, Peer, Second, eventually, put_at, say, start, text_at, wait};

const SYSV: &str = "tests/interop/c/sysv_server.c";
const POSIX: &str = "tests/interop/c/posix_server.c";

/// Starts each side, in C or in Rust. Nobody else has the region, as the server counts.
fn meet(source: &str, meeting: &Meeting, server_in_c: bool) {
    let Some(c) = Peer::c(source) else { return };
    let id = meeting.id.to_string();
    let mut server: Second = if server_in_c { c.start(&["serve", &meeting.at]) } else { start("serve", &[&id]) };
    assert_eq!(server.hear(), "ready");
    let text = "from the client";
    let mut client = if server_in_c { start("visit", &[&id, text]) } else { c.start(&["visit", &meeting.at, text]) };
    assert_eq!(client.hear(), "here");
    assert_eq!(server.hear(), "a client came");
    client.go_on();
    client.finish();
    assert_eq!(server.hear(), text);
    assert_eq!(server.hear(), "removed");
    server.finish();
    assert_eq!(meeting.id.open(&OpenOptions::new()).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_server_in_c_serves_a_client_in_rust_over_system_v() {
    meet(SYSV, &Meeting::by_file('R'), true);
}

#[test]
fn a_server_in_rust_serves_a_client_in_c_over_system_v() {
    meet(SYSV, &Meeting::by_file('R'), false);
}

#[test]
fn a_server_in_c_serves_a_client_in_rust_over_posix() {
    meet(POSIX, &Meeting::by_name(), true);
}

#[test]
fn a_server_in_rust_serves_a_client_in_c_over_posix() {
    meet(POSIX, &Meeting::by_name(), false);
}

/// Where the text begins: after the counter that POSIX needs.
fn text_offset(region: &impl SharedRegion) -> usize {
    if region.capabilities().attach_count() { 0 } else { 4 }
}

/// Waits until somebody has come, or all have gone.
fn wait_for_clients(region: &impl SharedRegion, any: bool) {
    let patience = Duration::from_secs(30);
    if region.capabilities().attach_count() {
        let count =
            if any { region.wait_for_attach_count(2.., patience) } else { region.wait_for_attach_count(..2, patience) };
        count.unwrap();
    } else {
        assert!(eventually(|| (region.load_u32(0, Ordering::Acquire).unwrap() > 0) == any));
    }
}

/// The server in Rust.
pub(crate) fn serve(arguments: &[String]) {
    let id: RegionId = arguments[0].parse().unwrap();
    let region = id.create(&CreateOptions::new(4096)).unwrap();
    region.set_mode(0o660).unwrap();
    say("ready");
    wait_for_clients(&region, true);
    say("a client came");
    wait_for_clients(&region, false);
    say(&text_at(&region, text_offset(&region)));
    region.remove().unwrap();
    say("removed");
}

/// The client in Rust.
pub(crate) fn visit(arguments: &[String]) {
    let id: RegionId = arguments[0].parse().unwrap();
    let region = id.open(&OpenOptions::new().min_size(4096)).unwrap();
    assert_eq!(region.metadata().unwrap().mode(), 0o660);
    let offset = text_offset(&region);
    put_at(&region, offset, &arguments[1]);
    if offset > 0 {
        region.atomic_u32(0).unwrap().fetch_add(1, Ordering::Release);
    }
    say("here");
    wait();
    if offset > 0 {
        region.atomic_u32(0).unwrap().fetch_sub(1, Ordering::Release);
    }
}
