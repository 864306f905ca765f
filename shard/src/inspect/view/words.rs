//! Why an image is missing, in words.

use std::borrow::Cow;

use lcl_schemas::outcome::{Class, Outcome};

/// What kind of reason, in a word or two, and its name in the style sheet.
pub(super) fn kind(outcome: &Outcome) -> (&'static str, &'static str) {
    match outcome.class() {
        Class::Stored => ("stored", "stored"),
        Class::Fetch => ("could not be fetched", "fetch"),
        Class::Manners => ("its owner asks not to", "manners"),
        Class::Safety => ("not safe to take", "safety"),
        Class::Content => ("no usable image", "content"),
        Class::Rule => ("left out by a rule", "rule"),
        Class::Unknown => ("of a later version", "unknown"),
    }
}

/// The reason as a sentence.
pub(super) fn reason(outcome: &Outcome) -> Cow<'static, str> {
    let reason = match outcome {
        Outcome::Http(status) => return http(*status),
        Outcome::Unknown(_) => "A later version of this program has a name for the reason.",
        Outcome::Stored => "It is in the dataset.",
        Outcome::Dns => "Its host name has no address any more.",
        Outcome::Resolver => "The name servers gave no answer.",
        Outcome::Refused => "Nobody listens at its address.",
        Outcome::Disconnected => "The connection broke off.",
        Outcome::Tls => "The connection could not be secured.",
        Outcome::Timeout => "No whole answer came in time.",
        Outcome::TooSlow => "It came too slowly.",
        Outcome::HostDown => "Its host failed too often to be asked again.",
        Outcome::Truncated => "Fewer bytes came than were announced.",
        Outcome::Redirects => "It was redirected too often, or in a circle.",
        Outcome::Protocol => "What came was not HTTP.",
        Outcome::RobotsUnreachable => "The robots.txt that has to be asked could not be had.",
        Outcome::MissingFile => "The images folder has no such file.",
        Outcome::NotArchived => "The archives do not hold it.",
        Outcome::UnreadableFile => "The file is there and cannot be read.",
        Outcome::Robots => "robots.txt disallows it.",
        Outcome::CrawlDelay => "robots.txt asks for longer pauses than were made.",
        Outcome::NoAi => "Its page or server says noai.",
        Outcome::NoImageAi => "Its page or server says noimageai.",
        Outcome::NoMl => "Its page or server says noml.",
        Outcome::NoIndex => "Its server says noindex.",
        Outcome::NoImageIndex => "Its page or server says noimageindex.",
        Outcome::TdmReserved => "Rights of text and data mining are reserved.",
        Outcome::OptedOut => "Its owner asked afterwards to have it taken out.",
        Outcome::BadUrl => "Its address is no absolute http(s) URL.",
        Outcome::PrivateAddress => "Its address is not a public one.",
        Outcome::Port => "Its address names a port that is not asked.",
        Outcome::TooLarge => "It has more bytes than allowed.",
        Outcome::Bomb => "It has more pixels than allowed.",
        Outcome::Empty => "No bytes came.",
        Outcome::NotAnImage => "What came is no image.",
        Outcome::Unsupported => "Its format is not decoded here.",
        Outcome::Corrupt => "Its bytes do not decode.",
        Outcome::BelowSimilarity => "It is less similar to its sentence than asked for.",
        Outcome::SecondForSentence => "Another image of the same sentence was drawn.",
        Outcome::OverLimit => "Its document has more images than allowed.",
        Outcome::DocumentLeftOut => "Its document was left out.",
        Outcome::Duplicate => "The same image stands earlier in this document.",
        Outcome::Icon => "Its page shows it as small as an icon.",
        Outcome::Tracker => "Its page does not show it: it only counts readers.",
        Outcome::Placeholder => "A script would have loaded another image in its place.",
        Outcome::Inline => "It stands in its page as text, as placeholders do.",
        Outcome::TooSmall => "It is smaller than asked for.",
        Outcome::Aspect => "It is wider or taller in proportion than asked for.",
    };
    Cow::Borrowed(reason)
}

fn http(status: u16) -> Cow<'static, str> {
    match status {
        404 | 410 => "Its server says that it is gone.".into(),
        401 | 402 | 403 | 451 => "Its server refuses to give it.".into(),
        429 => "Its server asked to slow down.".into(),
        500.. => format!("Its server failed (status {status}).").into(),
        _ => format!("Its server answered with status {status}.").into(),
    }
}
