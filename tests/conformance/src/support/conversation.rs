//! A conversation with a second process: each line asks it for one call, and its answer is one line.
//!
//! It can become another user on the way, and it keeps the last region that it created or opened.

use std::fmt::Display;
use std::marker::PhantomData;
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};
use shared_region::{
    Backend, CreateOptions, Error, ListEntry, Metadata, OpenOptions, RegionId, RegionName, SharedRegion,
    SharedRegionExt,
};

use crate::support::child::{self, Role, Second, hear, say};
use crate::sut::{Plant, Planted, Sut};

/// The side that asks.
#[derive(Debug)]
pub struct Conversation<S: Sut> {
    /// There until it is dropped.
    second: Option<Second>,
    sut: PhantomData<fn() -> S>,
}

impl<S: Sut> Conversation<S> {
    /// Starts a second process that is the same user, or another one of that number and group only.
    pub fn of(user: Option<u32>) -> Self {
        let role = child::role::<S>("converse");
        Self::in_role(match user {
            Some(user) => role.as_user(user),
            None => role,
        })
    }

    /// Uses a second process of one's own making, which has the role `converse`.
    pub fn in_role(role: Role) -> Self {
        Self { second: Some(role.start()), sut: PhantomData }
    }

    /// Has the second process do something, and returns what came of it: `ok`, a value, or the error's kind and errno.
    pub fn ask(&mut self, request: impl Display) -> String {
        let second = self.second.as_mut().unwrap();
        second.tell(&request.to_string());
        second.hear()
    }

    /// Has it do something that must work.
    #[track_caller]
    pub fn order(&mut self, request: impl Display) {
        let request = request.to_string();
        assert_eq!(self.ask(&request), "ok", "{request}");
    }
}

impl<S: Sut> Drop for Conversation<S> {
    /// Lets the second process end by itself, so that it takes away what it has planted.
    fn drop(&mut self) {
        self.second.take().map(Second::end);
    }
}

/// What an error is, in a few words.
pub fn brief(error: &Error) -> String {
    match error.raw_os_error() {
        Some(errno) => format!("{:?} {:?}", error.kind(), Errno::from_raw(errno)),
        None => format!("{:?}", error.kind()),
    }
}

/// What [`Conversation::ask`] answers for this.
pub fn told(metadata: &Metadata) -> String {
    let (mode, uid, gid) = (metadata.mode(), metadata.uid(), metadata.gid());
    format!("{} {mode:o} {uid} {gid}", metadata.size())
}

/// Finds a region by its name among the entries of a list.
pub fn entry<'a>(list: &'a [ListEntry], region: &RegionId) -> Option<&'a ListEntry> {
    // System V lists keys.
    let key = region.name().map(|name| RegionId::Key(name.key()));
    list.iter().find(|entry| entry.id() == region || Some(entry.id()) == key.as_ref())
}

/// The side that answers.
pub fn converse<S: Sut>(_: &[String]) {
    let mut side = Side::<S> { region: None, planted: None };
    loop {
        let request = hear();
        let words: Vec<&str> = request.split(' ').collect();
        if words == [""] {
            return;
        }
        match side.act(words[0], &words[1..]) {
            Ok(answer) => say(&answer),
            Err(error) => say(&brief(&error)),
        }
    }
}

struct Side<S: Sut> {
    region: Option<<S::Backend as Backend>::Region>,
    planted: Option<Planted>,
}

impl<S: Sut> Side<S> {
    fn act(&mut self, verb: &str, words: &[&str]) -> Result<String, Error> {
        let backend = S::backend();
        let name = || RegionName::new(words[0]).unwrap();
        let number = |index: usize| -> Option<u32> { words[index].parse().ok() };
        let mode = |index: usize| u32::from_str_radix(words[index], 8).unwrap();
        match verb {
            "become" => {
                let groups: Vec<Gid> = words[1..].iter().map(|gid| Gid::from_raw(gid.parse().unwrap())).collect();
                setgroups(&groups).unwrap();
                setgid(groups[0]).unwrap();
                setuid(Uid::from_raw(number(0).unwrap())).unwrap();
            }
            "create" => {
                let options = CreateOptions::new(words[1].parse().unwrap()).mode(mode(2));
                self.region = Some(backend.create_new(&name(), &options)?);
            }
            "open" => self.region = Some(backend.open(&name(), &OpenOptions::new())?),
            "open-read" => {
                self.region = Some(backend.open(&name(), &OpenOptions::new().read_only(true))?);
            }
            "open-owned" => {
                let options = OpenOptions::new().read_only(true).expect_owner(number(1).unwrap());
                self.region = Some(backend.open(&name(), &options)?);
            }
            "open-waiting" => {
                let options = OpenOptions::new().timeout(Duration::from_secs(60));
                self.region = Some(backend.open(&name(), &options)?);
            }
            "probe" => backend.probe()?,
            "exists" => return backend.exists(&name()).map(|exists| exists.to_string()),
            "remove" => backend.remove(&name())?,
            "remove-if-unused" => {
                return backend.remove_if_unused(&name()).map(|removed| removed.to_string());
            }
            "metadata-id" => return backend.metadata(&name()).map(|metadata| told(&metadata)),
            "holders-id" => return backend.holders(&name()).map(|holders| format!("{holders:?}")),
            "set-mode-id" => backend.set_mode(&name(), mode(1))?,
            "set-owner-id" => backend.set_owner(&name(), number(1), number(2))?,
            "list" => {
                let list = backend.list()?;
                let entry = entry(&list, &RegionId::named(backend.name(), name()));
                return Ok(entry.map_or("absent".to_owned(), |entry| told(entry.metadata())));
            }
            "plant" => {
                self.planted = S::plant(Plant::FOREIGN[number(1).unwrap() as usize], &name());
                return Ok(self.planted.is_some().to_string());
            }
            "untouched" => return Ok((self.planted.as_ref().unwrap().untouched)().to_string()),
            "drop" => self.region = None,
            _ => return self.act_on_region(verb, words),
        }
        Ok("ok".to_owned())
    }

    fn act_on_region(&mut self, verb: &str, words: &[&str]) -> Result<String, Error> {
        let region = self.region.as_ref().unwrap();
        let number = |index: usize| -> Option<u32> { words[index].parse().ok() };
        match verb {
            "metadata" => return region.metadata().map(|metadata| told(&metadata)),
            "set-mode" => region.set_mode(u32::from_str_radix(words[0], 8).unwrap())?,
            "set-owner" => region.set_owner(number(0), number(1))?,
            "remove-own" => region.remove()?,
            "clone" => drop(region.try_clone()?),
            "read" => {
                let mut bytes = vec![0; words[0].parse().unwrap()];
                region.read_at(0, &mut bytes)?;
                return Ok(String::from_utf8_lossy(&bytes).into_owned());
            }
            "write" => region.write_at(0, words[0].as_bytes())?,
            _ => panic!("what is {verb}?"),
        }
        Ok("ok".to_owned())
    }
}
