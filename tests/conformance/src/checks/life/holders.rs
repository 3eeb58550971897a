//! L9, F2, P4: who holds a region.
//!
//! All of it happens in second processes: this one forks for other tests at any time, and each child holds for a moment
//! whatever is mapped here.

use std::io::{Read, Write};

use shared_region::{Access, Backend, ErrorKind, HeldMapping, Holder, Holders, RegionId, RegionName, SharedRegion};

use crate::checks::unused::run_where_holders_are_known;
use crate::support::child::{NOBODY, eventually, fork_off, hear, is_root, role, say, skip};
use crate::support::trace::{self, Fate};
use crate::sut::{Fresh, Sut, create, name_in, open, open_read_only};

fn holders<S: Sut>(name: &RegionName) -> Holders {
    S::backend().holders(name).unwrap()
}

fn pids(holders: &Holders) -> Vec<u32> {
    holders.processes().iter().map(Holder::pid).collect()
}

/// What a process holds.
fn of(pid: i32, holders: &Holders) -> (Vec<HeldMapping>, usize) {
    let pid = u32::try_from(pid).unwrap();
    let holder = holders.processes().iter().find(|holder| holder.pid() == pid).expect("it holds the region");
    (holder.mappings().to_vec(), holder.descriptors().len())
}

fn own() -> i32 {
    std::process::id() as i32
}

/// How a region is mapped: pages are whole.
fn mapping(region: &impl SharedRegion) -> HeldMapping {
    let len = region.len().next_multiple_of(4096) as u64;
    HeldMapping::new(region.as_ptr() as u64, len, 0, region.access())
}

/// How many descriptors a process has of a region that it holds by `regions`.
fn descriptors<S: Sut>(regions: usize) -> usize {
    if S::backend().capabilities().file_descriptor() { regions } else { 0 }
}

pub fn holders_are_told_with_their_mappings_and_descriptors<S: Sut>() {
    run_where_holders_are_known::<S>("is_held_in_every_way");
}

pub fn is_held_in_every_way<S: Sut>(arguments: &[String]) {
    let name = name_in(arguments, 0);
    let region = create::<S>(&name, 5000);
    assert_eq!(of(own(), &holders::<S>(&name)), (vec![mapping(&region)], descriptors::<S>(1)));
    let read_only = open_read_only::<S>(&name);
    let mut mappings = vec![mapping(&region), mapping(&read_only)];
    mappings.sort_by_key(HeldMapping::address);
    assert_eq!(of(own(), &holders::<S>(&name)), (mappings.clone(), descriptors::<S>(2)));

    let mut reader = role::<S>("says_where_it_holds").arg(name.as_str()).start();
    let there: u64 = reader.hear().parse().unwrap();
    let mut child = fork_off(|line| {
        let told = line.write_all(&std::process::id().to_ne_bytes()).and_then(|()| line.read(&mut [0]));
        i32::from(told.is_err())
    });
    let mut forked = [0; 4];
    child.line.read_exact(&mut forked).unwrap();
    let forked = i32::from_ne_bytes(forked);
    let found = holders::<S>(&name);
    assert!(pids(&found).is_sorted() && pids(&found).len() == 3, "{found:?}");
    // Where nobody counts, those of other PID namespaces may be missing.
    assert_eq!(found.is_complete(), S::backend().capabilities().attach_count(), "{found:?}");
    let reading = HeldMapping::new(there, 8192, 0, Access::ReadOnly);
    assert_eq!(of(reader.pid(), &found), (vec![reading], descriptors::<S>(1)));
    assert_eq!(of(forked, &found), (mappings, descriptors::<S>(2)));

    // Whoever goes is seen no more, whichever way.
    child.kill();
    let only = |pids_left: &[u32]| eventually(|| pids(&holders::<S>(&name)) == pids_left);
    let mut both = [own() as u32, reader.pid() as u32];
    both.sort_unstable();
    assert!(only(&both));
    drop((region, read_only));
    assert!(only(&[reader.pid() as u32]));
    reader.finish();
    assert!(only(&[]));
    let nobody = holders::<S>(&name);
    assert!(nobody.is_complete() && S::backend().remove_if_unused(&name).unwrap(), "{nobody:?}");
    assert_eq!(S::backend().holders(&name).unwrap_err().kind(), ErrorKind::NotFound);
}

pub fn says_where_it_holds<S: Sut>(arguments: &[String]) {
    let region = open_read_only::<S>(&name_in(arguments, 0));
    say(&(region.as_ptr() as u64).to_string());
    hear();
}

pub fn a_descriptor_without_a_mapping_and_a_mapping_without_a_descriptor_are_told<S: Sut>() {
    if !S::backend().capabilities().file_descriptor() {
        return skip::<S>("a region has no descriptor");
    }
    run_where_holders_are_known::<S>("holds_by_one_of_both");
}

pub fn holds_by_one_of_both<S: Sut>(arguments: &[String]) {
    let name = name_in(arguments, 0);
    let region = create::<S>(&name, 5000);
    let descriptor = region.descriptor().unwrap().try_clone_to_owned().unwrap();
    drop(region);
    let found = holders::<S>(&name);
    let number = std::os::fd::AsRawFd::as_raw_fd(&descriptor);
    assert_eq!(found.processes(), [Holder::new(own() as u32, vec![], vec![number])]);
    drop(descriptor);
    // Closed behind the region's back, which therefore must never be dropped.
    let region = std::mem::ManuallyDrop::new(open::<S>(&name));
    nix::unistd::close(std::os::fd::AsRawFd::as_raw_fd(&region.descriptor().unwrap())).unwrap();
    let mapped = Holder::new(own() as u32, vec![mapping(&*region)], vec![]);
    assert_eq!(holders::<S>(&name).processes(), [mapped]);
}

pub fn the_holders_of_many_regions_are_found_at_once_in_their_order<S: Sut>() {
    run_where_holders_are_known::<S>("holds_one_of_many");
}

pub fn holds_one_of_many<S: Sut>(arguments: &[String]) {
    let backend = S::backend();
    let names = ["", "-free", "-gone"].map(|end| format!("{}{end}", arguments[0]).parse().unwrap());
    let [held, free, missing] = names.map(Fresh::<S>::named);
    let region = create::<S>(&held, 5000);
    drop(create::<S>(&free, 5000));
    let id = |name: &RegionName| RegionId::named(backend.name(), *name);
    let foreign = RegionId::named("elsewhere", *held);
    let ids = [id(&missing), id(&free), id(&held), foreign, id(&held)];
    let found = backend.holders_ids(&ids).unwrap();
    let outcome = |found: &shared_region::Result<Holders>| found.as_ref().map(pids).map_err(shared_region::Error::kind);
    let this = vec![own() as u32];
    let told: Vec<_> = found.iter().map(outcome).collect();
    let (not_found, invalid) = (Err(ErrorKind::NotFound), Err(ErrorKind::InvalidName));
    assert_eq!(told, [not_found, Ok(vec![]), Ok(this.clone()), invalid, Ok(this)]);
    assert!(found[1].as_ref().unwrap().is_complete(), "that nobody has it is certain");
    assert_eq!(found[2].as_ref().unwrap().is_complete(), backend.capabilities().attach_count());
    assert!(found[0].as_ref().unwrap_err().to_string().contains(missing.as_str()));
    assert!(backend.holders_ids(&[]).unwrap().is_empty());

    // Whatever is listed can be asked about.
    let listed: Vec<_> = backend.list().unwrap().iter().map(|entry| entry.id().clone()).collect();
    let found = backend.holders_ids(&listed).unwrap();
    assert_eq!(found.len(), listed.len());
    let by_this = |found: &&shared_region::Result<Holders>| {
        found.as_ref().is_ok_and(|found| pids(found).contains(&(own() as u32)))
    };
    assert_eq!(found.iter().filter(by_this).count(), 1);
    drop(region);
}

pub fn who_may_not_look_everywhere_is_told_that_there_may_be_more<S: Sut>() {
    if !is_root() {
        return skip::<S>("it takes a second user");
    }
    if S::finds_holders().is_none() {
        return skip::<S>("nobody can tell who holds a region");
    }
    let name = Fresh::<S>::new();
    let region = create::<S>(&name, 5000);
    region.set_mode(0o644).unwrap();
    role::<S>("sees_itself_only").arg(*name).as_user(NOBODY).run();
    // Not even with no right at all to the region is there a guess.
    region.set_mode(0).unwrap();
    role::<S>("sees_nobody").arg(*name).as_user(NOBODY).run();
}

pub fn sees_itself_only<S: Sut>(arguments: &[String]) {
    let name = name_in(arguments, 0);
    let _region = open_read_only::<S>(&name);
    let found = holders::<S>(&name);
    assert!(pids(&found) == [own() as u32] && !found.is_complete(), "{found:?}");
}

pub fn sees_nobody<S: Sut>(arguments: &[String]) {
    let found = holders::<S>(&name_in(arguments, 0));
    assert!(pids(&found).is_empty() && !found.is_complete(), "{found:?}");
}

pub fn what_is_listed_is_removed_by_its_id_if_unused<S: Sut>() {
    run_where_holders_are_known::<S>("removes_what_is_listed");
}

pub fn removes_what_is_listed<S: Sut>(arguments: &[String]) {
    let backend = S::backend();
    let name = name_in(arguments, 0);
    let region = create::<S>(&name, 5000);
    let list = backend.list().unwrap();
    let id = crate::support::conversation::entry(&list, &RegionId::named(backend.name(), name)).unwrap().id();
    assert!(!backend.remove_id_if_unused(id).unwrap());
    drop(region);
    assert!(eventually(|| backend.remove_id_if_unused(id).unwrap()));
    assert!(!backend.exists(&name).unwrap());
    assert_eq!(backend.remove_id_if_unused(id).unwrap_err().kind(), ErrorKind::NotFound);

    // What is removed already is found no more, also by an identity that outlives its name.
    let removed = create::<S>(&name, 5000);
    removed.remove().unwrap();
    let id = removed.metadata().unwrap().native_id().filter(|_| backend.capabilities().attach_count());
    if let Some(id) = id {
        let id = format!("{}:#{id}", backend.name()).parse().unwrap();
        assert_eq!(pids(&backend.holders_id(&id).unwrap()), [own() as u32]);
        assert_eq!(backend.remove_id_if_unused(&id).unwrap_err().kind(), ErrorKind::NotFound);
    }
}

pub fn what_the_name_comes_to_mean_meanwhile_is_not_removed<S: Sut>() {
    if trace::works::<S>() {
        run_where_holders_are_known::<S>("replaces_the_object_meanwhile");
    }
}

/// Replaces the object by one that this process holds, before each call that concerns it, and after.
pub fn replaces_the_object_meanwhile<S: Sut>(arguments: &[String]) {
    let name = name_in(arguments, 0);
    let concerns = S::own_call().unwrap();
    let mut second = role::<S>("removes_if_unused").arg(name.as_str()).start();
    let mut moments = 0;
    loop {
        drop(create::<S>(&name, 5000));
        let (mut seen, mut after, mut newer, mut window) = (0, false, None, false);
        let followed = trace::follow(&mut second, "go", |call| {
            let now = concerns(call);
            if now || after {
                if seen == moments {
                    let _ = S::backend().remove(&name);
                    newer = Some(create::<S>(&name, 100));
                    // No call removes a name only if it means a certain object.
                    window = call.unlinks();
                }
                seen += 1;
            }
            after = now;
            Fate::Pass
        });
        assert_eq!(followed.end, None);
        let outcome = second.hear();
        let Some(newer) = newer else { break };
        moments += 1;
        if window {
            continue;
        }
        assert_eq!(open::<S>(&name).metadata().unwrap(), newer.metadata().unwrap(), "{outcome}");
        assert!(["Ok(false)", "Ok(true)", "Err(NotFound)"].contains(&outcome.as_str()), "{outcome}");
        newer.remove().unwrap();
    }
    assert!(moments >= 4, "{moments}");
    second.tell("");
    second.finish();
}

pub fn removes_if_unused<S: Sut>(arguments: &[String]) {
    let name = name_in(arguments, 0);
    while let Some(removed) = trace::act(|_| S::backend().remove_if_unused(&name)) {
        say(&format!("{:?}", removed.map_err(|error| error.kind())));
    }
}
