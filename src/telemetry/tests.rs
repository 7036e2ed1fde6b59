//! What the output does while nobody reads, and how events are written.

use std::io::{self, ErrorKind, IoSliceMut, Read as _, Seek as _};
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Condvar, Mutex};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::Value;

use super::output::Output;
use super::render::Renderer;
use super::{Style, journal};
use crate::clock::ManualClock;
use crate::event::{Event, Fields, Level, Name};

#[derive(Default)]
struct Page {
    text: Vec<u8>,
    /// Whoever writes waits.
    stopped: bool,
    /// Whoever writes is refused, after so many more bytes.
    refuses: Option<(ErrorKind, usize)>,
    /// How often somebody was refused.
    refused: usize,
}

/// Reads what is written, or does not.
#[derive(Clone, Default)]
pub(crate) struct Reader(Arc<(Mutex<Page>, Condvar)>);

impl Reader {
    /// An output of all events as JSON that this one reads.
    pub(crate) fn output(&self, least: Level) -> Output {
        let clock = Arc::new(ManualClock::at("2026-11-24T04:00:00Z".parse().unwrap()));
        let reader = self.clone();
        let sink = Box::new(move |bytes: &[u8]| reader.take(bytes));
        Output::start(Renderer::new(Style::Json), sink, least, clock).unwrap()
    }

    fn take(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut page = self.0.1.wait_while(self.0.0.lock().unwrap(), |page| page.stopped).unwrap();
        let taken = match &mut page.refuses {
            Some((kind, 0)) => {
                let kind = *kind;
                page.refused += 1;
                self.0.1.notify_all();
                return Err(kind.into());
            }
            Some((_, left)) => {
                let taken = bytes.len().min(*left);
                *left -= taken;
                taken
            }
            None => bytes.len(),
        };
        page.text.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn change(&self, change: impl FnOnce(&mut Page)) {
        change(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
    }

    pub(crate) fn stops(&self) {
        self.change(|page| page.stopped = true);
    }

    pub(crate) fn goes_on(&self) {
        self.change(|page| (page.stopped, page.refuses) = (false, None));
    }

    /// What was read.
    pub(crate) fn events(&self) -> Vec<Value> {
        let text = String::from_utf8(self.0.0.lock().unwrap().text.clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn wait<T>(end: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(end)
}

/// An event with a number, and with so many bytes.
fn numbered(number: u64, bytes: usize) -> Event {
    let fields = Fields { attempt: Some(number), ..Fields::default() };
    Event::new(Level::Info, Name::RunCreated, "x".repeat(bytes), fields)
}

/// The numbers of the events that were read.
pub(crate) fn numbers(events: &[Value]) -> Vec<u64> {
    events.iter().filter_map(|event| event["attempt"].as_u64()).collect()
}

fn announce(output: &Output, batch: u64, event: Event) -> bool {
    output.announce(batch, std::iter::once(std::borrow::Cow::Owned(event)))
}

#[test]
fn nobody_waits_for_an_output_that_is_not_read_and_what_found_no_room_is_counted() {
    let reader = Reader::default();
    let output = reader.output(Level::Info);
    reader.stops();
    (0..10_000).for_each(|number| output.say(&numbered(number, 1_024)));
    reader.goes_on();
    assert!(wait(output.flushed()));
    let events = reader.events();
    let read = numbers(&events);
    assert!(read.len() > 3_000 && read.is_sorted(), "{} events had room", read.len());
    let missing: Vec<&Value> = events.iter().filter(|event| event["event"] == "output.dropped").collect();
    assert_eq!(missing.len(), 1, "said once");
    assert_eq!(missing[0]["count"].as_u64().unwrap() + read.len() as u64, 10_000);
    assert_eq!(
        (&missing[0]["level"], &missing[0]["since"]),
        (&"WARN".into(), &"2026-11-24T04:00:00.000Z".into())
    );
}

#[test]
fn facts_that_find_no_room_are_refused_and_not_counted_since_they_are_kept() {
    let reader = Reader::default();
    let output = reader.output(Level::Info);
    reader.stops();
    let taken = (0..100).take_while(|batch| announce(&output, *batch, numbered(*batch, 1 << 20))).count();
    assert!((4..=6).contains(&taken), "{taken}");
    assert!(!output.has_room() && output.unsaid().is_none());
    reader.goes_on();
    wait(output.room());
    assert!(announce(&output, 100, numbered(100, 1)));
    assert!(wait(output.flushed()));
    let read = numbers(&reader.events());
    assert_eq!(read, (0..taken as u64).chain([100]).collect::<Vec<_>>());
    assert_eq!(output.announced(), Some(100));
}

#[test]
fn facts_count_as_announced_when_they_are_written_and_not_when_they_are_taken() {
    let reader = Reader::default();
    let output = reader.output(Level::Info);
    assert!(announce(&output, 7, numbered(1, 1)));
    assert!(wait(output.flushed()));
    assert_eq!(output.announced(), Some(7));
    reader.stops();
    assert!(announce(&output, 8, numbered(2, 1)) && announce(&output, 9, numbered(3, 1)));
    assert!(!wait(output.flushed()), "nobody waits for ever");
    assert_eq!(output.announced(), Some(7));
    reader.goes_on();
    assert!(wait(output.flushed()));
    assert_eq!(output.announced(), Some(9));
}

#[test]
fn what_is_not_logged_takes_no_room_and_is_not_missing() {
    let reader = Reader::default();
    let output = reader.output(Level::Warn);
    reader.stops();
    (0..10_000).for_each(|number| output.say(&numbered(number, 1_024)));
    assert!(output.has_room() && output.unsaid().is_none());
    assert!(announce(&output, 3, numbered(1, 1)));
    reader.goes_on();
    assert!(wait(output.flushed()));
    assert_eq!((output.announced(), reader.events()), (Some(3), vec![]), "nobody wants to read it");
}

#[test]
fn what_is_written_last_counts_as_announced_as_soon_as_all_is_written() {
    let reader = Reader::default();
    for (level, batches) in [(Level::Info, 300), (Level::Warn, 300)] {
        let output = reader.output(level);
        for batch in 0..batches {
            assert!(announce(&output, batch, numbered(batch, 1)));
            assert!(wait(output.flushed()));
            assert_eq!(output.announced(), Some(batch), "{level:?}");
        }
    }
}

#[test]
fn an_output_that_fails_in_the_middle_of_a_line_goes_on_there_once_it_works_again() {
    for kind in [ErrorKind::StorageFull, ErrorKind::BrokenPipe] {
        let reader = Reader::default();
        let output = reader.output(Level::Info);
        reader.change(|page| page.refuses = Some((kind, 100)));
        output.say(&numbered(1, 200));
        output.say(&numbered(2, 200));
        drop(reader.0.1.wait_while(reader.0.0.lock().unwrap(), |page| page.refused == 0).unwrap());
        assert!(!wait(output.flushed()));
        reader.goes_on();
        while !wait(output.flushed()) {}
        assert_eq!(numbers(&reader.events()), [1, 2], "whole lines, each once");
    }
}

#[test]
fn why_events_are_missing_is_said_with_them_if_it_is_known() {
    let reader = Reader::default();
    let output = reader.output(Level::Info);
    reader.change(|page| page.refuses = Some((ErrorKind::StorageFull, 0)));
    (0..10_000).for_each(|number| output.say(&numbered(number, 1_024)));
    drop(reader.0.1.wait_while(reader.0.0.lock().unwrap(), |page| page.refused == 0).unwrap());
    reader.goes_on();
    while !wait(output.flushed()) {}
    let missing = reader.events().into_iter().find(|event| event["event"] == "output.dropped").unwrap();
    assert_eq!(missing["error_message"], "no storage space");
    assert!(missing["message"].as_str().unwrap().contains("the log could not be written"), "{missing}");
}

#[test]
fn the_end_of_the_process_knows_what_was_not_said() {
    let reader = Reader::default();
    let output = reader.output(Level::Info);
    reader.stops();
    output.say(&numbered(0, 1));
    // The writer has it in hand by then, or not.
    assert!(!wait(output.flushed()));
    (1..4).for_each(|number| output.say(&numbered(number, 1)));
    assert!(announce(&output, 7, numbered(9, 1)));
    output.miss(vec![numbered(0, 1); 10].iter());
    output.hurry();
    assert!(!wait(output.flushed()));
    assert_eq!(output.unsaid().unwrap().fields.count, Some(14), "all but what the ledger keeps");
}

/// An event of every type of field.
fn example() -> Event {
    let fields = Fields {
        entry: Some("nightly \"sales\"".to_owned()),
        attempt: Some(2),
        lateness_ms: Some(-3),
        error_message: Some("first\nsecond\u{1b}".to_owned()),
        ..Fields::default()
    };
    let at = Some("2026-11-24T03:59:58.1239Z".parse().unwrap());
    Event { at, ..Event::new(Level::Error, Name::FiringHeld, "a person must decide", fields) }
}

fn rendered(style: Style) -> Vec<u8> {
    Renderer::new(style).render(&example(), "2026-11-24T04:00:00Z".parse().unwrap())
}

#[test]
fn an_event_is_one_json_object_a_line_with_the_time_at_which_it_came_to_be() {
    assert_eq!(
        String::from_utf8(rendered(Style::Json)).unwrap(),
        "{\"timestamp\":\"2026-11-24T03:59:58.123Z\",\"level\":\"ERROR\",\"message\":\"a person must decide\",\
         \"event\":\"firing.held\",\"entry\":\"nightly \\\"sales\\\"\",\"attempt\":2,\"lateness_ms\":-3,\
         \"error_message\":\"first\\nsecond\\u001b\"}\n"
    );
}

#[test]
fn an_event_for_a_person_who_waits_is_its_name_and_what_it_says() {
    assert_eq!(rendered(Style::Brief), b"firing.held: a person must decide\n");
}

#[test]
fn an_entry_of_the_journal_has_each_field_with_its_length() {
    let mut rest = rendered(Style::Journal);
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let name = rest.iter().position(|byte| *byte == b'\n').unwrap();
        let value = name + 9;
        let length = u64::from_le_bytes(rest[name + 1..value].try_into().unwrap());
        let end = value + usize::try_from(length).unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        fields.push((text(&rest[..name]), text(&rest[value..end])));
        assert_eq!(rest[end], b'\n');
        rest.drain(..=end);
    }
    fields.sort();
    let wanted = [
        ("ATTEMPT", "2"),
        ("ENTRY", "nightly \"sales\""),
        ("ERROR_MESSAGE", "first\nsecond\u{1b}"),
        ("EVENT", "firing.held"),
        ("LATENESS_MS", "-3"),
        ("MESSAGE", "a person must decide"),
        ("PRIORITY", "3"),
        ("SYSLOG_IDENTIFIER", "adf-cron"),
        ("TIMESTAMP", "2026-11-24T03:59:58.123Z"),
    ];
    assert_eq!(fields, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

/// A socket like the one of journald.
fn journald() -> (tempfile::TempDir, UnixDatagram, Output) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let socket = UnixDatagram::bind(&path).unwrap();
    let clock = Arc::new(ManualClock::at("2026-11-24T04:00:00Z".parse().unwrap()));
    let sink = journal::sink_to(path.to_str().unwrap()).unwrap();
    let output = Output::start(Renderer::new(Style::Journal), sink, Level::Info, clock).unwrap();
    (folder, socket, output)
}

#[test]
fn an_entry_that_is_too_large_for_a_datagram_goes_as_a_file() {
    let (_folder, socket, output) = journald();
    output.say(&numbered(1, 1 << 20));
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0; 16];
    let received =
        recvmsg(&socket, &mut [IoSliceMut::new(&mut bytes)], &mut beside, RecvFlags::empty()).unwrap();
    assert_eq!(received.bytes, 0);
    let Some(RecvAncillaryMessage::ScmRights(mut files)) = beside.drain().next() else {
        panic!("there is no file")
    };
    let mut file = std::fs::File::from(files.next().unwrap());
    let mut entry = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut entry).unwrap();
    assert!(entry.contains(&"x".repeat(1 << 20)) && entry.contains("EVENT\n"));
    assert!(file.set_len(1).is_err(), "nobody can change it");
    assert!(wait(output.flushed()));
}

#[test]
fn a_journald_that_does_not_receive_holds_up_nobody_and_gets_everything_later() {
    let (_folder, socket, output) = journald();
    // More than any system lets wait for a socket.
    (0..2_000).for_each(|number| assert!(announce(&output, number, numbered(number, 10))));
    assert!(!wait(output.flushed()));
    assert!(output.announced() < Some(1_999));
    let mut bytes = [0; 4_096];
    for number in 0..2_000 {
        let length = socket.recv(&mut bytes).unwrap();
        let entry = String::from_utf8_lossy(&bytes[..length]);
        assert!(entry.contains(&format!("\0{number}\n")), "{number} is not the next: {entry}");
    }
    assert!(wait(output.flushed()));
    assert_eq!(output.announced(), Some(1_999));
}

#[test]
fn a_journald_that_is_gone_gets_everything_when_it_is_back() {
    let (folder, socket, output) = journald();
    drop(socket);
    let path = folder.path().join("socket");
    std::fs::remove_file(&path).unwrap();
    assert!(announce(&output, 1, numbered(1, 10)));
    assert!(!wait(output.flushed()));
    assert_eq!(output.announced(), None);
    let socket = UnixDatagram::bind(&path).unwrap();
    assert!(socket.recv(&mut [0; 4_096]).unwrap() > 0);
    while !wait(output.flushed()) {}
    assert_eq!(output.announced(), Some(1));
}
