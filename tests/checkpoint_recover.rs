//! A checkpoint plus what follows is the fold from the beginning (J6), wherever it is made and in however many passes.
//! What is damaged, of another journal or ahead of this one is passed over and said so, and never hides a fault of the
//! journal itself.

mod checkpoint;

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use checkpoint::*;
use doorbuster::domain::image::{StateHash, state_hash};
use doorbuster::ids::{Seq, ShardId};
use doorbuster::persist::checkpoint::{Checkpointer, Error, Limits, Making, Pace, Store, Told, recover};
use doorbuster::persist::memory::{MemoryDisk, MemoryJournal};
use doorbuster::persist::{self, Journal, Read, Tail};

/// A market with its journal, and a checkpoint each at a third and at two thirds of it.
struct Scene {
    dir: tempfile::TempDir,
    store: Store,
    market: Market,
    journal: MemoryJournal,
    tails: Vec<Tail>,
    at: [Tail; 2],
}

impl Scene {
    fn set(seed: u64) -> Self {
        let dir = data_dir();
        let store = Store::of(dir.path());
        let market = Market::after(seed, 900);
        let (journal, tails) = journal_of(&market.entries, &mut Dice(seed));
        let at = [tails[tails.len() / 3], tails[tails.len() * 2 / 3]];
        for to in at {
            make(&store, &journal, to, PLENTY).expect("there is room");
        }
        Self { dir, store, market, journal, tails, at }
    }

    fn data(&self) -> &Path {
        self.dir.path()
    }

    /// Asserts that a start is right all the same, and gives the checkpoint that it used and why it did not use others.
    fn recovers(&self) -> (Tail, Vec<String>) {
        let recovered = assert_recovers(&self.store, &self.journal, &self.market.entries);
        (recovered.from, recovered.passed_over.iter().map(ToString::to_string).collect())
    }
}

#[test]
fn a_checkpoint_and_what_follows_are_the_fold_from_the_beginning() {
    let mut passes = 0;
    for seed in 0..30 {
        let market = Market::after(seed, 1_000);
        let mut dice = Dice(seed);
        let (journal, tails) = journal_of(&market.entries, &mut dice);
        let dir = data_dir();
        let store = Store::of(dir.path());
        assert_eq!(assert_recovers(&store, &journal, &market.entries).from, Tail::START);
        let (mut place, mut before) = (0, Tail::START);
        while place < tails.len() {
            let to = tails[place];
            let limits = if dice.one_in(2) { LITTLE } else { PLENTY };
            let made = make(&store, &journal, to, limits).expect("there is room");
            let there = fold(&market.entries, events(to));
            assert_eq!((made.state, made.from), (state_hash(&there), before), "seed {seed}, event {}", to.seq);
            assert_eq!(made.orders, there.iter().map(|sale| u64::from(sale.orders_placed())).sum::<u64>());
            passes = passes.max(made.passes);
            let recovered = assert_recovers(&store, &journal, &market.entries);
            assert_eq!((recovered.from, recovered.passed_over.len()), (to, 0), "seed {seed}");
            before = to;
            place += 1 + usize::try_from(dice.below(tails.len() as u64 / 2)).expect("few");
        }
    }
    assert!(passes > 5, "some were made in passes");
}

/// The suspense account has pieces of shard 0, which the first of several passes reads and no other.
#[test]
fn in_several_passes_payments_and_the_suspense_account_are_the_same_state() {
    let market = Market::after(5, 2_000);
    let (journal, tails) = journal_of(&market.entries, &mut Dice(5));
    let (middle, last) = (tails[tails.len() / 2], tails[tails.len() - 1]);
    let made_by = |limits: [Limits; 2]| {
        let dir = data_dir();
        let store = Store::of(dir.path());
        let [half, whole] = [(middle, limits[0]), (last, limits[1])]
            .map(|(to, limits)| make(&store, &journal, to, limits).expect("there is room"));
        assert_recovers(&store, &journal, &market.entries);
        let listed = store.list().expect("a directory");
        let manifest = listed[0].manifest.as_ref().expect("a sound manifest");
        let of_suspense: Vec<_> =
            manifest.pieces.iter().filter(|piece| (piece.first, piece.last) == (ShardId(0), ShardId(0))).collect();
        assert_eq!((manifest.tail, of_suspense.len()), (last, 1));
        (half.state, whole.state, whole.passes)
    };
    let there = fold(&market.entries, events(last));
    assert!(there.suspense().payments_from(1).count() > 10 && there.retired().len() > 1);
    let states = (state_hash(&fold(&market.entries, events(middle))), state_hash(&there));
    for limits in [[PLENTY, PLENTY], [PLENTY, LITTLE], [LITTLE, PLENTY], [LITTLE, LITTLE]] {
        let (half, whole, passes) = made_by(limits);
        assert_eq!((half, whole), states);
        assert_eq!(passes > 3, limits[1].memory_bytes == 0, "{passes}");
    }
}

#[test]
fn any_file_that_is_damaged_is_seen_and_the_checkpoint_before_is_used() {
    let scene = Scene::set(21);
    let [older, newer] = scene.at;
    assert_eq!(scene.recovers(), (newer, vec![]));
    let listed = scene.store.list().expect("it can be listed");
    let (of_newer, of_older) = (named(scene.data(), &listed[0]), named(scene.data(), &listed[1]));
    let files: Vec<_> = manifests(scene.data()).into_iter().chain(piece_files(scene.data())).collect();
    assert!(files.len() >= 6, "{files:?}");
    let mut dice = Dice(5);
    for file in &files {
        let sound = fs::read(file).expect("it is there");
        let hits_newer = of_newer.contains(file) || file == &manifests(scene.data())[1];
        let hits_older = of_older.contains(file) || file == &manifests(scene.data())[0];
        assert!(hits_newer || hits_older, "every file belongs to a checkpoint");
        for _ in 0..6 {
            let mut damaged = sound.clone();
            let at = usize::try_from(dice.below(sound.len() as u64)).expect("below a usize");
            match dice.below(4) {
                0 => damaged.truncate(at),
                1 => damaged.push(0),
                _ => damaged[at] ^= 1 << dice.below(8),
            }
            fs::write(file, &damaged).expect("it can be written");
            let (from, passed_over) = scene.recovers();
            let expected = match (hits_newer, hits_older) {
                (false, _) => (newer, 0),
                (true, false) => (older, 1),
                (true, true) => (Tail::START, 2),
            };
            assert_eq!((from, passed_over.len()), expected, "{}: {passed_over:?}", file.display());
            assert!(
                passed_over.iter().all(|why| why.contains("damaged") || why.contains("version")),
                "{passed_over:?}"
            );
        }
        fs::remove_file(file).expect("it is there");
        let (from, passed_over) = scene.recovers();
        assert!(from == if hits_newer { if of_older.contains(file) { Tail::START } else { older } } else { newer });
        assert_eq!(passed_over.is_empty(), !of_newer.contains(file), "a manifest that is not there is not missed");
        fs::write(file, sound).expect("it can be written");
    }
    assert_eq!(scene.recovers(), (newer, vec![]));
}

#[test]
fn what_is_damaged_is_made_good_by_the_next_checkpoint_and_never_kept_for_the_one_to_fall_back_to() {
    let scene = Scene::set(22);
    let [older, newer] = scene.at;
    let listed = scene.store.list().expect("it can be listed");
    let of_older = named(scene.data(), &listed[1]);
    let only_newer = named(scene.data(), &listed[0]).into_iter().find(|file| !of_older.contains(file));
    let flip = |file: &Path| {
        let mut bytes = fs::read(file).expect("it is there");
        bytes[9] ^= 4;
        fs::write(file, bytes).expect("it can be written");
    };
    flip(only_newer.as_ref().expect("the state changed"));
    // Once more at the same place: the piece is there under its name, and is not what its name says.
    let again = make(&scene.store, &scene.journal, newer, PLENTY).expect("there is room");
    assert_eq!((again.from, again.passed_over.len()), (older, 1), "{again:?}");
    assert_eq!(scene.recovers(), (newer, vec![]));
    // And at a later one: it is made from the older one, which stays to fall back to.
    flip(only_newer.as_ref().expect("the state changed"));
    let to = *scene.tails.last().expect("there are records");
    let made = make(&scene.store, &scene.journal, to, PLENTY).expect("there is room");
    assert_eq!((made.from, made.passed_over.len()), (older, 1), "{made:?}");
    let kept: Vec<u64> = scene.store.list().expect("it can be listed").iter().map(|listed| listed.seq.0).collect();
    assert_eq!(kept, [to.seq.0, older.seq.0]);
    assert_eq!(scene.recovers(), (to, vec![]));
    // Where none holds it is made from the beginning, and none of them stays.
    piece_files(scene.data()).iter().for_each(|file| flip(file));
    let made = make(&scene.store, &scene.journal, scene.tails[scene.tails.len() - 2], PLENTY).expect("there is room");
    assert_eq!((made.from, made.passed_over.len()), (Tail::START, 2), "{made:?}");
    assert_eq!(scene.store.list().expect("it can be listed").len(), 1);
    assert_eq!(scene.recovers(), (made.tail, vec![]));
}

#[test]
fn a_checkpoint_of_a_state_that_never_was_is_passed_over() {
    let scene = Scene::set(29);
    let [older, newer] = scene.at;
    // The older state under the newer one's place in the journal, sealed as if it were so.
    let [path_of_older, path_of_newer] = [0, 1].map(|place| manifests(scene.data())[place].clone());
    let mut forged = fs::read(path_of_older).expect("it is there");
    forged[4..12].copy_from_slice(&newer.seq.0.to_be_bytes());
    forged[12..44].copy_from_slice(&newer.hash.0);
    let body = forged.len() - 32;
    let seal = *blake3::hash(&forged[..body]).as_bytes();
    forged[body..].copy_from_slice(&seal);
    fs::write(path_of_newer, forged).expect("it can be written");
    let (from, passed_over) = scene.recovers();
    assert_eq!(from, older);
    assert!(passed_over[0].contains("cannot follow"), "{passed_over:?}");
    // What is made from it does not fit either, so it is made from the older one.
    let made = make(&scene.store, &scene.journal, scene.tails[scene.tails.len() - 1], LITTLE).expect("there is room");
    assert_eq!((made.from, made.passed_over.len()), (older, 1), "{made:?}");
    assert_eq!(scene.recovers(), (made.tail, vec![]));
}

/// A journal that asks to stop as its `at`-th record is read, and counts those that are read all the same.
struct Stops<'a> {
    journal: &'a MemoryJournal,
    stop: AtomicBool,
    at: u64,
    read: AtomicU64,
}

impl Read for Stops<'_> {
    fn read(
        &self,
        from: Seq,
        each: &mut (dyn FnMut(Seq, &[u8]) -> Result<ControlFlow<()>, persist::Error> + '_),
    ) -> Result<(), persist::Error> {
        self.journal.read(from, &mut |seq, bytes| {
            let read = self.read.fetch_add(1, Ordering::Relaxed) + 1;
            self.stop.fetch_or(read == self.at, Ordering::Relaxed);
            each(seq, bytes)
        })
    }
}

#[test]
fn it_stops_at_the_next_record_and_what_stood_stands() {
    let scene = Scene::set(30);
    let to = scene.tails[scene.tails.len() - 1];
    for at in [1, 2, 5, 9, 20, 30] {
        let (stop, read) = (AtomicBool::new(false), AtomicU64::new(0));
        let journal = Stops { journal: &scene.journal, stop, at, read };
        let made = Making::new(&scene.store, &journal, LITTLE, &journal.stop).run(to);
        assert!(matches!(made, Err(Error::Stopped)), "at {at}: {made:?}");
        // The look at a checkpoint's place reads two; the next reading sees that it is to stop.
        assert!(journal.read.load(Ordering::Relaxed) <= at + 2, "at {at}");
        assert_eq!(scene.recovers(), (scene.at[1], vec![]));
    }
}

#[test]
fn two_are_kept_with_their_pieces_and_nothing_else() {
    let scene = Scene::set(23);
    let checkpoints = scene.data().join("checkpoints");
    for rubbish in ["00000000000000000009.manifest.partial", "pieces/0123.partial", "pieces/0123"] {
        fs::write(checkpoints.join(rubbish), "of a run that was killed").expect("it can be written");
    }
    fs::write(checkpoints.join("notes.txt"), "somebody's own").expect("it can be written");
    for to in &scene.tails[scene.tails.len() - 3..] {
        make(&scene.store, &scene.journal, *to, LITTLE).expect("there is room");
        let listed = scene.store.list().expect("it can be listed");
        assert_eq!(listed.len(), 2);
        let wanted: Vec<_> = listed.iter().flat_map(|listed| named(scene.data(), listed)).collect();
        assert!(piece_files(scene.data()).iter().all(|file| wanted.contains(file)), "nothing that nobody names");
        assert_eq!(scene.recovers(), (*to, vec![]));
        // The one to fall back to is whole as well.
        let newest = &manifests(scene.data())[1];
        let bytes = fs::read(newest).expect("it is there");
        fs::remove_file(newest).expect("it is there");
        assert_eq!(scene.recovers().0.seq, listed[1].seq);
        fs::write(newest, bytes).expect("it can be written");
    }
    assert!(!checkpoints.join("00000000000000000009.manifest.partial").exists());
    assert!(checkpoints.join("notes.txt").exists(), "what is not ours is left alone");
}

#[test]
fn the_checkpoint_of_another_journal_or_of_a_longer_one_is_passed_over() {
    let scene = Scene::set(24);
    let [older, newer] = scene.at;
    // The same events in other records.
    let (other, _) = journal_of(&scene.market.entries, &mut Dice(99));
    let recovered = assert_recovers(&scene.store, &other, &scene.market.entries);
    assert_eq!(recovered.from, Tail::START);
    let is_foreign = |why: &Error| matches!(why, Error::Foreign { .. });
    assert!(recovered.passed_over.len() == 2 && recovered.passed_over.iter().all(|passed| is_foreign(&passed.why)));

    // A journal that ends between the two, and one that ends at the older one.
    let between = (events(older) + events(newer)) / 2;
    for (entries, from) in [(between, older), (events(older), older), (0, Tail::START)] {
        let records = scene.tails.iter().filter(|tail| events(**tail) <= entries).count();
        let entries = &scene.market.entries[..scene.tails[..records].last().map_or(0, |tail| events(*tail))];
        let (short, _) = journal_of(entries, &mut Dice(24));
        let recovered = assert_recovers(&scene.store, &short, entries);
        assert_eq!(recovered.from, from, "{recovered:?}");
        let is_ahead = |why: &Error| matches!(why, Error::Ahead { .. });
        assert!(!recovered.passed_over.is_empty() && recovered.passed_over.iter().all(|passed| is_ahead(&passed.why)));
    }
    // A new one in a journal that was put back takes the place of those that are ahead of it.
    let records = scene.tails.iter().filter(|tail| events(**tail) <= between).count();
    let (short, tails) = journal_of(&scene.market.entries[..events(scene.tails[records - 1])], &mut Dice(24));
    make(&scene.store, &short, *tails.last().expect("records"), PLENTY).expect("there is room");
    assert!(recover(&scene.store, &short).expect("a sound journal").passed_over.is_empty());
}

#[test]
fn a_manifest_under_another_name_is_no_checkpoint() {
    let scene = Scene::set(25);
    let newest = &manifests(scene.data())[1];
    fs::rename(newest, newest.with_file_name("00000000000000000003.manifest")).expect("it is there");
    let (from, passed_over) = scene.recovers();
    assert_eq!((from, passed_over.len()), (scene.at[0], 0), "it is looked at after the older one");
    fs::remove_file(&manifests(scene.data())[1]).expect("it is there");
    assert!(scene.recovers().1[0].contains("does not make sense"));
}

#[test]
fn a_damaged_journal_is_not_hidden_by_a_checkpoint() {
    let scene = Scene::set(26);
    let [older, newer] = scene.at;
    let record_ending_at = |tail: Tail| scene.tails.iter().position(|other| *other == tail).expect("a record's end");
    for (record, is_seen) in
        [(record_ending_at(older) - 1, false), (record_ending_at(newer), true), (scene.tails.len() - 1, true)]
    {
        let disk = MemoryDisk::new();
        let mut journal = disk.open().expect("a new journal");
        append_to(&mut journal, &scene.market.entries, &mut Dice(26));
        disk.damage(record, |bytes| bytes[60] ^= 1);
        match recover(&scene.store, &journal) {
            Ok(recovered) => assert!(!is_seen && recovered.from == newer),
            Err(error) => assert!(is_seen && error.to_string().contains("damaged"), "{error}"),
        }
        // What lies before the checkpoint is for who opens the journal, which reads all of it.
        assert!(disk.open().is_err());
    }
}

#[test]
fn a_checkpoint_is_made_only_where_a_record_ends() {
    let scene = Scene::set(27);
    let last = *scene.tails.last().expect("there are records");
    for wrong in [Tail { seq: Seq(last.seq.0 + 5), ..last }, Tail { seq: last.seq, ..scene.at[0] }] {
        let refused = make(&scene.store, &scene.journal, wrong, PLENTY).expect_err("there is no such tail");
        assert!(matches!(refused, Error::NotReached { .. }), "{refused}");
    }
    assert_eq!(scene.recovers(), (scene.at[1], vec![]));
}

#[test]
fn where_the_room_is_wanted_for_the_journal_none_is_made_and_nothing_is_left_of_it() {
    let scene = Scene::set(28);
    let before = (manifests(scene.data()), piece_files(scene.data()));
    let to = *scene.tails.last().expect("there are records");
    let wants_all = Limits { min_free_bytes: u64::MAX / 2, ..PLENTY };
    let refused = make(&scene.store, &scene.journal, to, wants_all).expect_err("there is no such room");
    assert!(matches!(refused, Error::NoRoom { .. }), "{refused}");
    assert_eq!((manifests(scene.data()), piece_files(scene.data())), before);
    assert_eq!(scene.recovers(), (scene.at[1], vec![]));
}

#[test]
fn the_thread_follows_what_may_be_folded_and_stops_at_once() {
    let market = Market::after(31, 2_000);
    let (journal, tails) = journal_of(&market.entries, &mut Dice(31));
    let dir = data_dir();
    let store = Store::of(dir.path());
    let (tell, told) = mpsc::channel();
    let (may, all) = (Arc::new(AtomicU64::new(0)), tails.clone());
    let upto = Arc::clone(&may);
    let pace = Pace { look_every: Duration::from_millis(1), rest: 1, ..Pace::default() };
    let may_fold_to = move || match usize::try_from(upto.load(Ordering::SeqCst)).expect("few") {
        0 => Tail::START,
        records => all[records - 1],
    };
    let tell = move |what| drop(tell.send(what));
    let thread = Checkpointer::spawn(store.clone(), journal.reader(), PLENTY, pace, Tail::START, may_fold_to, tell)
        .expect("a thread can be started");
    assert!(told.recv_timeout(Duration::from_millis(30)).is_err(), "there is nothing to fold");
    for records in [5, 20, tails.len()] {
        may.store(records as u64, Ordering::SeqCst);
        let told = told.recv_timeout(Duration::from_secs(20)).expect("it is made");
        let Told::Made { made, .. } = told else { panic!("{told:?}") };
        assert_eq!(made.tail, tails[records - 1]);
        assert_eq!(made.state, state_hash(&fold(&market.entries, events(made.tail))));
    }
    // Fields of a thread's stat stand after its name in parentheses; its niceness is the 17th of them.
    let threads = fs::read_dir("/proc/self/task").expect("Linux tells").map(|entry| entry.expect("an entry").path());
    let stat =
        threads.filter_map(|path| fs::read_to_string(path.join("stat")).ok()).find(|s| s.contains("(checkpoint)"));
    let stat = stat.expect("the thread has a name");
    let niceness = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(16));
    assert_eq!(niceness, Some("10"), "{stat}");
    let begun = Instant::now();
    thread.stop();
    assert!(begun.elapsed() < Duration::from_secs(1), "it sleeps, and wakes to stop");
    assert_eq!(assert_recovers(&store, &journal, &market.entries).from, tails[tails.len() - 1]);
    let hashes: Vec<StateHash> =
        store.list().expect("it can be listed").iter().map(|l| l.manifest.as_ref().expect("sound").state).collect();
    assert_eq!(hashes.len(), 2);
}

#[test]
fn what_the_thread_fails_of_is_told_and_tried_again() {
    let market = Market::after(32, 200);
    let (journal, tails) = journal_of(&market.entries, &mut Dice(32));
    let dir = data_dir();
    // Somebody's file stands where the directory should.
    let in_the_way = dir.path().join("checkpoints");
    fs::write(&in_the_way, "").expect("it can be written");
    let (tell, told) = mpsc::channel();
    let pace = Pace { look_every: Duration::from_millis(1), retry_after: Duration::from_millis(5), ..Pace::default() };
    let last = tails[tails.len() - 1];
    let tell = move |what| drop(tell.send(what));
    let store = Store::of(dir.path());
    assert!(assert_recovers(&store, &journal, &market.entries).passed_over[0].seq.is_none());
    let thread = Checkpointer::spawn(store, journal.reader(), PLENTY, pace, Tail::START, move || last, tell)
        .expect("a thread can be started");
    for _ in 0..2 {
        let told = told.recv_timeout(Duration::from_secs(20)).expect("it is told");
        assert!(matches!(told, Told::Failed(Error::Persist(persist::Error::Io { .. }))), "{told:?}");
    }
    fs::remove_file(&in_the_way).expect("it is there");
    let made = |what| matches!(what, Told::Made { .. });
    assert!(told.iter().take(1_000).any(made), "once there is room it is made");
    thread.stop();
}
