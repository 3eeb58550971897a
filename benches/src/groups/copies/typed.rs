//! Copies of values whose size the compiler knows.

use std::fmt::Debug;
use std::hint::black_box;
use std::ptr;
use std::rc::Rc;

use anyhow::{Result, ensure};
use shared_region::{Backend, CreateOptions, Posix, PosixRegion, SharedRegion, SharedRegionExt};
use vm_memory::{ByteValued, Bytes};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::volatile;
use crate::model::{Plan, Role, Subject};
use crate::sampler;

pub(super) fn plan(plan: &mut Plan) {
    plan.compare("typed read", 8, reads::<u64>);
    plan.compare("typed read", 64, reads::<[u64; 8]>);
    plan.compare("typed read", 256, reads::<[u64; 32]>);
    plan.compare("typed write", 8, writes::<u64>);
    plan.compare("typed write", 64, writes::<[u64; 8]>);
    plan.compare("typed write", 256, writes::<[u64; 32]>);
}

trait Value: FromBytes + IntoBytes + Immutable + ByteValued + PartialEq + Debug {}

impl<T: FromBytes + IntoBytes + Immutable + ByteValued + PartialEq + Debug> Value for T {}

fn noise<T: Value>() -> T {
    let mut value = T::new_zeroed();
    fastrand::fill(value.as_mut_bytes());
    value
}

fn region<T>() -> Result<Rc<PosixRegion>> {
    Ok(Rc::new(Posix.create_unnamed(&CreateOptions::new(size_of::<T>()))?))
}

fn reads<T: Value + 'static>() -> Result<Vec<Subject>> {
    let region = region::<T>()?;
    Ok(vec![
        read(&region, Role::System, "memcpy", |region, to: &mut T| {
            // SAFETY: both are as long as the value, do not overlap, and nobody writes to them meanwhile; any bytes are
            // a value.
            unsafe { ptr::copy_nonoverlapping(region.as_ptr(), (&raw mut *to).cast(), black_box(size_of::<T>())) };
            true
        }),
        read(&region, Role::System, "read_unaligned", |region, to: &mut T| {
            // SAFETY: the region is as long as the value, any bytes are one, and nobody writes to it meanwhile.
            *to = unsafe { region.as_ptr().cast::<T>().read_unaligned() };
            true
        })
        .against("memcpy"),
        read(&region, Role::Ours, "read_value", |region, to: &mut T| {
            region.read_value(0).map(|value| *to = value).is_ok()
        })
        .against("memcpy"),
        read(&region, Role::Peer, "VolatileSlice", |region, to: &mut T| {
            volatile(region).read_obj(0).map(|value| *to = value).is_ok()
        })
        .against("memcpy"),
    ])
}

fn read<T: Value + 'static>(
    region: &Rc<PosixRegion>,
    role: Role,
    name: &'static str,
    get: impl Fn(&PosixRegion, &mut T) -> bool + Copy + 'static,
) -> Subject {
    let verified = Rc::clone(region);
    let verify = move || {
        let (value, mut got) = (noise::<T>(), noise::<T>());
        verified.write_value(0, &value)?;
        ensure!(get(&verified, &mut got) && got == value, "another value came out");
        Ok(())
    };
    let region = Rc::clone(region);
    let mut value = noise::<T>();
    let run = move |count| {
        sampler::time(count, || {
            ensure!(get(black_box(&region), black_box(&mut value)));
            Ok(())
        })
    };
    Subject::new(role, name, "", verify, run)
}

fn writes<T: Value + 'static>() -> Result<Vec<Subject>> {
    let region = region::<T>()?;
    Ok(vec![
        write(&region, Role::System, "memcpy", |region, value: &T| {
            let to = region.as_ptr().cast_mut();
            // SAFETY: both are as long as the value, do not overlap, and nobody else uses them meanwhile.
            unsafe { ptr::copy_nonoverlapping((&raw const *value).cast(), to, black_box(size_of::<T>())) };
            true
        }),
        write(&region, Role::System, "write_unaligned", |region, value: &T| {
            // SAFETY: the region is as long as the value, writable, and nobody else uses it meanwhile.
            unsafe { region.as_ptr().cast_mut().cast::<T>().write_unaligned(*value) };
            true
        })
        .against("memcpy"),
        write(&region, Role::Ours, "write_value", |region, value: &T| region.write_value(0, value).is_ok())
            .against("memcpy"),
        write(&region, Role::Peer, "VolatileSlice", |region, value: &T| volatile(region).write_obj(*value, 0).is_ok())
            .against("memcpy"),
    ])
}

fn write<T: Value + 'static>(
    region: &Rc<PosixRegion>,
    role: Role,
    name: &'static str,
    put: impl Fn(&PosixRegion, &T) -> bool + Copy + 'static,
) -> Subject {
    let verified = Rc::clone(region);
    let verify = move || {
        let value = noise::<T>();
        ensure!(put(&verified, &value) && verified.read_value::<T>(0)? == value, "another value arrived");
        Ok(())
    };
    let region = Rc::clone(region);
    let value = noise::<T>();
    let run = move |count| {
        sampler::time(count, || {
            ensure!(put(black_box(&region), black_box(&value)));
            Ok(())
        })
    };
    Subject::new(role, name, "", verify, run)
}
