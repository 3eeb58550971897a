//! N: names and identities.

use std::sync::atomic::{AtomicBool, Ordering};

use shared_region::{
    AnyBackend, Backend, CreateOptions, ErrorKind, ListEntry, OpenOptions, RegionId, RegionName, SharedRegion,
    SharedRegionExt,
};

use crate::support::child::{is_root, role, say, skip};
use crate::sut::{Fresh, Plant, Sut, bytes_of, create, open};

/// What breaks the grammar, and a word of the message that says so.
const BROKEN: &[(&str, &str)] = &[
    ("", "empty"),
    ("/", "empty"),
    (".", "directories"),
    ("/..", "directories"),
    ("sem.", "sem."),
    ("/sem.lock", "sem."),
    ("//a", "slash"),
    ("a/", "slash"),
    ("a/b", "slash"),
    ("a b", "' ' is not portable"),
    ("a\0", "is not portable"),
    ("a\n", "is not portable"),
    ("ä", "'ä' is not portable"),
    ("a:b", "':' is not portable"),
    ("a%20b", "'%' is not portable"),
    ("0123456789012345678901234567890", "31 bytes"),
    ("/0123456789012345678901234567890", "31 bytes"),
];

pub fn a_name_outside_of_the_grammar_is_refused_and_the_message_says_which_rule_broke<S: Sut>() {
    for &(name, rule) in BROKEN {
        let error = RegionName::new(name).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidName, "{name:?}: {error}");
        assert_eq!(error.raw_os_error(), None, "{name:?}: {error}");
        assert!(error.to_string().contains(rule), "{name:?}: {error}");
        assert_eq!(name.parse::<RegionName>().unwrap_err().to_string(), error.to_string());
        assert_eq!(RegionName::try_from(name).unwrap_err().to_string(), error.to_string());
    }
    // A prefix is a name's beginning, with 13 bytes to come.
    for prefix in ["a/b", "sem.", "ä", "//", "012345678901234567"] {
        let error = S::backend().create_unique(prefix, &CreateOptions::new(1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidName, "{prefix:?}: {error}");
    }
}

pub fn a_name_with_and_without_its_slash_is_the_same_name<S: Sut>() {
    let name = Fresh::<S>::new();
    let slashed = RegionName::new(&format!("/{}", name.as_str())).unwrap();
    assert_eq!(slashed, *name);
    assert_eq!(slashed.as_str(), name.as_str());
    create::<S>(&name, 100).write_at(0, b"same").unwrap();
    assert_eq!(bytes_of(&open::<S>(&slashed))[..4], *b"same");
    let error = S::backend().create_new(&slashed, &CreateOptions::new(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    S::backend().remove(&slashed).unwrap();
    assert!(!S::backend().exists(&name).unwrap());
}

pub fn every_name_of_the_grammar_works<S: Sut>() {
    // Such short names may be somebody's: here they are used in a store of their own.
    match S::small_store(1 << 20) {
        Some(store) if is_root() => {
            role::<S>("uses_every_kind_of_name").confined(store).run();
        }
        Some(_) => skip::<S>("a private store takes root"),
        None => skip::<S>("there is no private store"),
    }
}

pub fn uses_every_kind_of_name<S: Sut>(_: &[String]) {
    let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    let mut names: Vec<String> = letters.chars().map(String::from).collect();
    names.extend(letters.as_bytes().chunks(30).map(|c| String::from_utf8(c.to_vec()).unwrap()));
    names.extend(["...", ".a", "a.", "..a", "sem", "Sem.a", "sema.b", "a.sem.", "-rf"].map(String::from));
    for text in &names {
        let name = RegionName::new(text).unwrap();
        create::<S>(&name, 10).write_at(0, &[text.len() as u8]).unwrap();
        assert_eq!(bytes_of(&open::<S>(&name))[0], text.len() as u8, "{text}");
        assert!(S::backend().exists(&name).unwrap(), "{text}");
    }
    assert_eq!(S::backend().list().unwrap().len(), names.len());
    for text in &names {
        S::backend().remove(&RegionName::new(text).unwrap()).unwrap();
    }
    assert_eq!(S::backend().list().unwrap(), []);
}

pub fn a_name_has_the_same_key_in_every_process<S: Sut>() {
    let name = Fresh::<S>::new();
    let mut second = role::<S>("says_key").arg(name.as_str()).start();
    assert_eq!(second.hear(), name.key().to_string());
    second.finish();
    for (name, key) in [("frames", 0x7b71_324f_u32), ("akhnp9x", 0x9e37_79b9), ("kdmw2hi", 0x7f4a_7c15)] {
        assert_eq!(RegionName::new(name).unwrap().key() as u32, key, "{name}");
    }
}

pub fn says_key<S: Sut>(arguments: &[String]) {
    say(&RegionName::new(&arguments[0]).unwrap().key().to_string());
}

/// The listed entries of `len` bytes whose object begins with `magic`.
fn listed<S: Sut>(len: usize, magic: &[u8]) -> Vec<ListEntry> {
    let mut found = S::backend().list().unwrap();
    found.retain(|entry| {
        let options = OpenOptions::new().read_only(true);
        entry.metadata().size() == len as u64
            && S::backend().open_id(entry.id(), &options).is_ok_and(|region| bytes_of(&region).starts_with(magic))
    });
    found
}

pub fn a_listed_id_opens_and_removes_its_region<S: Sut>() {
    let name = Fresh::<S>::new();
    let (len, magic) = (123_457, name.as_str().as_bytes());
    assert_eq!(listed::<S>(len, magic), []);
    let options = CreateOptions::new(len).mode(0o640);
    let region = S::backend().create_new(&name, &options).unwrap();
    region.write_at(0, magic).unwrap();

    let entries = listed::<S>(len, magic);
    let [entry] = &entries[..] else { panic!("listed {} times", entries.len()) };
    let (listed_facts, facts) = (entry.metadata(), region.metadata().unwrap());
    assert_eq!(listed_facts.mode(), 0o640);
    assert_eq!((listed_facts.uid(), listed_facts.gid()), (facts.uid(), facts.gid()));
    assert!(!listed_facts.is_removed());
    assert_eq!(entry.id().to_string().parse::<RegionId>().unwrap(), *entry.id());

    S::backend().remove_id(entry.id()).unwrap();
    assert!(!S::backend().exists(&name).unwrap());
    let error = S::backend().remove_id(entry.id()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    // It is mapped still, and listed no more.
    let still = |entry: &ListEntry| entry.metadata().size() == len as u64 && entry.id() == entries[0].id();
    assert!(!S::backend().list().unwrap().iter().any(still));
    drop(region);
}

pub fn a_list_leaves_out_what_is_no_shared_memory<S: Sut>() {
    let name = Fresh::<S>::new();
    let named = RegionId::named(S::backend().name(), *name);
    for plant in Plant::FOREIGN {
        let Some(planted) = S::plant(plant, &name) else {
            skip::<S>(&format!("no {plant:?} can be planted"));
            continue;
        };
        let list = S::backend().list().unwrap();
        assert!(list.iter().all(|entry| *entry.id() != named), "{plant:?}");
        assert!((planted.untouched)(), "{plant:?}");
    }
    // What it does show, it would have shown here.
    let Some(_planted) = S::plant(Plant::Unsized, &name) else { return };
    let list = S::backend().list().unwrap();
    let entry = list.iter().find(|entry| *entry.id() == named).unwrap();
    assert_eq!(entry.metadata().size(), 0);
}

pub fn listing_never_fails_while_regions_come_and_go<S: Sut>() {
    let fresh = Fresh::<S>::new();
    let name: RegionName = *fresh;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                drop(create::<S>(&name, 4096));
                S::backend().remove(&name).unwrap();
            }
        });
        let lists: Vec<_> = (0..200).map(|_| S::backend().list()).collect();
        done.store(true, Ordering::Relaxed);
        for list in lists {
            list.unwrap();
        }
    });
}

pub fn exists_agrees_with_create_and_remove<S: Sut>() {
    let (name, other) = (Fresh::<S>::new(), Fresh::<S>::new());
    for _ in 0..3 {
        assert!(!S::backend().exists(&name).unwrap());
        let region = create::<S>(&name, 1);
        assert!(S::backend().exists(&name).unwrap());
        drop(region);
        assert!(S::backend().exists(&name).unwrap());
        assert!(!S::backend().exists(&other).unwrap());
        S::backend().remove(&name).unwrap();
    }
    let region = create::<S>(&name, 1);
    region.remove().unwrap();
    assert!(!S::backend().exists(&name).unwrap());
}

pub fn the_text_of_an_id_opens_the_region_in_another_process<S: Sut>() {
    let name = Fresh::<S>::new();
    let region = create::<S>(&name, 5000);
    region.write_at(0, b"by its id").unwrap();
    let id = region.id().unwrap();
    assert_eq!(id, RegionId::named(S::backend().name(), *name));
    assert_eq!(id.to_string(), format!("{}:{}", S::backend().name(), *name));
    assert_eq!((id.backend(), id.name()), (S::backend().name(), Some(&*name)));
    assert_eq!(id.to_string().parse::<RegionId>().unwrap(), id);
    role::<S>("opens_by_text").arg(&id).arg("by its id").run();

    // The same by any backend that this build knows, and as a region without a type.
    match (S::backend().name().parse::<AnyBackend>(), id.open(&OpenOptions::new())) {
        (Ok(_), same) => {
            let same: Box<dyn SharedRegion> = same.unwrap();
            assert_eq!((same.len(), same.id()), (5000, Some(id.clone())));
            assert_eq!(bytes_of(&*same), bytes_of(&region));
            id.remove().unwrap();
            assert!(!S::backend().exists(&name).unwrap());
        }
        (Err(_), same) => {
            assert_eq!(same.unwrap_err().kind(), ErrorKind::BackendUnavailable);
            assert_eq!(id.remove().unwrap_err().kind(), ErrorKind::BackendUnavailable);
        }
    }
}

pub fn opens_by_text<S: Sut>(arguments: &[String]) {
    let id: RegionId = arguments[0].parse().unwrap();
    let region = S::backend().open_id(&id, &OpenOptions::new()).unwrap();
    assert_eq!(region.id(), Some(id));
    assert_eq!(bytes_of(&region)[..arguments[1].len()], *arguments[1].as_bytes());
}

pub fn what_an_identity_stands_for_is_created_or_opened<S: Sut>() {
    let name = Fresh::<S>::new();
    let id = RegionId::named(S::backend().name(), *name);
    let options = CreateOptions::new(5000).mode(0o640);
    let region = S::backend().create_id(&id, &options).unwrap();
    assert_eq!((region.len(), region.metadata().unwrap().mode(), region.id()), (5000, 0o640, Some(id.clone())));
    region.write_at(0, b"by its id").unwrap();
    assert_eq!(bytes_of(&open::<S>(&name)), bytes_of(&region));
    let error = S::backend().create_id(&id, &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");

    let (same, created) = S::backend().open_or_create_id(&id, &options).unwrap();
    assert_eq!((created, bytes_of(&same)), (false, bytes_of(&region)));
    region.remove().unwrap();
    let (other, created) = S::backend().open_or_create_id(&id, &options).unwrap();
    assert_eq!((created, other.len(), other.id()), (true, 5000, Some(id)));
    assert_eq!(bytes_of(&other), [0; 5000]);
}

pub fn an_id_of_another_backend_is_refused_and_opens_nothing<S: Sut>() {
    let name = Fresh::<S>::new();
    let region = create::<S>(&name, 100);
    let mut strangers = vec![RegionId::named("elsewhere", *name)];
    for known in ["posix", "sysv"] {
        let id = RegionId::named(known, *name);
        if id.backend() != S::backend().name() {
            strangers.push(id);
        }
    }
    for id in &strangers {
        let error = S::backend().open_id(id, &OpenOptions::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidName, "{error}");
        let error = S::backend().remove_id(id).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidName, "{error}");
        let error = S::backend().create_id(id, &CreateOptions::new(100)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidName, "{error}");
        let made = S::backend().create_id_with(id, &CreateOptions::new(100), |_| -> shared_region::Result<()> {
            panic!("there is nothing to fill");
        });
        let error = made.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidName, "{error}");
        let error = S::backend().open_or_create_id(id, &CreateOptions::new(100)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidName, "{error}");
    }
    let error = strangers[0].open(&OpenOptions::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BackendUnavailable, "{error}");
    let error = strangers[0].remove().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BackendUnavailable, "{error}");
    let error = strangers[0].create(&CreateOptions::new(100)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BackendUnavailable, "{error}");
    let error = strangers[0].open_or_create(&CreateOptions::new(100)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BackendUnavailable, "{error}");
    assert!(S::backend().exists(&name).unwrap());
    assert!(!region.metadata().unwrap().is_removed());
}

pub fn a_region_says_by_what_it_can_be_opened<S: Sut>() {
    let name = Fresh::<S>::new();
    let region = create::<S>(&name, 100);
    assert_eq!(region.try_clone().unwrap().id(), region.id());
    assert_eq!(open::<S>(&name).id(), region.id());

    let unnamed = S::backend().create_unnamed(&CreateOptions::new(100)).unwrap();
    unnamed.write_at(0, b"unnamed").unwrap();
    match unnamed.id() {
        Some(id) => {
            assert_eq!(id.name(), None);
            let same = S::backend().open_id(&id, &OpenOptions::new()).unwrap();
            assert_eq!(bytes_of(&same)[..7], *b"unnamed");
        }
        // Then its descriptor is the way.
        None => assert!(unnamed.descriptor().is_ok() || !S::shares_with_processes()),
    }
}
