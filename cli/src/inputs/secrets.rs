// SPDX-License-Identifier: MPL-2.0

//! What a URI keeps from others: passwords, signatures and tokens. Records, tables and messages have [`redact`]ed URIs;
//! only GStreamer is given the whole one.

use std::borrow::Cow;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::{Digest, Sha256};

/// How the names of parameters begin that sign a URI, in lower case: Amazon, Google, Alibaba, Tencent, Huawei, Volcano.
const PREFIXES: &[&str] = &[
    "x-amz-",
    "x-goog-",
    "x-oss-",
    "x-cos-",
    "x-obs-",
    "x-tos-",
    "q-sign-",
    "q-signature",
    "q-ak",
];

/// Parts of the names of parameters that grant access.
const PARTS: &[&str] = &[
    "token",
    "signature",
    "secret",
    "passw",
    "credential",
    "apikey",
    "api_key",
    "api-key",
    "accesskey",
    "access_key",
    "access-key",
    "accessid",
    "authorization",
    "hmac",
    "jwt",
];

/// Whole names of parameters that grant access, or that change with those that do.
const NAMES: &[&str] = &[
    "sig",
    "sign",
    "auth",
    "pass",
    "pwd",
    "policy",
    "key-pair-id",
    "expires",
    "expire",
    "expiry",
    "expiration",
    "exp",
    "hdnts",
    "hdnea",
    "hdntl",
    "__gda__",
    "verify",
    "rlkey",
    "resourcekey",
];

/// Names that only together are a signature: Azure's shared access signatures (whose second and later names are optional),
/// nginx's secure links, Discord.
const TOGETHER: &[(&[&str], &[&str])] = &[
    (
        &["sig"],
        &[
            "sv", "ss", "srt", "sr", "sp", "st", "se", "spr", "sip", "si", "sdd", "skoid", "sktid",
            "skt", "ske", "sks", "skv", "saoid", "suoid", "scid", "ses",
        ],
    ),
    (&["md5", "expires"], &["md5"]),
    (&["hash", "expires"], &["hash"]),
    (&["st", "e"], &["st", "e"]),
    (&["ex", "is", "hm"], &["ex", "is", "hm"]),
];

/// Names of parameters that may grant access, and may say as well which object is meant. A short digest stands for the
/// value, so that different objects stay different.
const EITHER: &[&str] = &[
    "key",
    "hash",
    "md5",
    "code",
    "session",
    "sessionid",
    "session_id",
    "sid",
    "phpsessid",
    "jsessionid",
];

/// A value of that many letters is no word, no number and no name that people give.
const LONG: usize = 16;

/// The URI with `***` for its password, and without the parameters that sign it or grant access.
pub fn redact(uri: &str) -> String {
    let uri = match password(uri) {
        Some((user, password)) => {
            Cow::from(uri.replacen(&format!("{user}:{password}@"), &format!("{user}:***@"), 1))
        }
        None => uri.into(),
    };
    let Some((scheme, _)) = uri.split_once("://") else {
        return uri.into();
    };
    if scheme.eq_ignore_ascii_case("file") {
        return uri.into();
    }
    let (before, fragment) = split(&uri, '#');
    let (path, query) = split(before, '?');
    let mut text = path.to_owned();
    for (mark, parameters) in [('?', query), ('#', fragment)] {
        let Some(parameters) = parameters else {
            continue;
        };
        let kept = keep(parameters);
        if !kept.is_empty() || parameters.is_empty() {
            text.push(mark);
            text.push_str(&kept);
        }
    }
    text
}

/// A text about the input of this URI, without the secrets of the URI and of others in the text.
pub fn hide(text: &str, uri: &str) -> String {
    let mut text = text.replace(uri, &redact(uri));
    if let Some((_, password)) = password(uri).filter(|(_, password)| !password.is_empty()) {
        text = text.replace(password, "***");
        text = text.replace(&unescape(password), "***");
    }
    for (name, value) in secrets(uri) {
        text = text.replace(&format!("{name}={value}"), &format!("{name}=***"));
        // Short ones, such as `r` for read, are no secrets and part of other words.
        if value.len() >= 8 {
            text = text.replace(value, "***");
            text = text.replace(&unescape(value), "***");
        }
    }
    redact_all(&text)
}

/// The text with all URIs in it redacted: those that a server redirects to are signed as well.
fn redact_all(text: &str) -> String {
    let ends =
        |letter: char| letter.is_whitespace() || letter.is_control() || "\"'`<>".contains(letter);
    let mut shown = String::new();
    for word in text.split_inclusive(ends) {
        let begin = word.find("://").map_or(0, |place| {
            let scheme = |letter: char| letter.is_ascii_alphanumeric() || "+-.".contains(letter);
            word[..place].trim_end_matches(scheme).len()
        });
        let uri = word[begin..].trim_end_matches(|letter| ends(letter) || ",;:.)".contains(letter));
        shown += &word[..begin];
        shown += &redact(uri);
        shown += &word[begin + uri.len()..];
    }
    shown
}

/// The text that stands behind `%20` and the like.
pub fn unescape(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// The user and the password in a URI, as they are written there.
fn password(uri: &str) -> Option<(&str, &str)> {
    let (_, rest) = uri.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    authority.rsplit_once('@')?.0.split_once(':')
}

fn split(text: &str, mark: char) -> (&str, Option<&str>) {
    match text.split_once(mark) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

/// The parameters that are no secrets, with the marks between them.
fn keep(parameters: &str) -> String {
    let names = names(parameters);
    let mut kept = String::new();
    for piece in parameters.split_inclusive(['&', ';']) {
        let parameter = piece.trim_end_matches(['&', ';']);
        let mark = &piece[parameter.len()..];
        if let Some(shown) = shown(parameter, &names) {
            kept += &shown;
            kept += mark;
        }
    }
    let marks = parameters.trim_end_matches(['&', ';']).len();
    if marks == parameters.len() {
        kept.truncate(kept.trim_end_matches(['&', ';']).len());
    }
    kept
}

/// The names and values of a URI's parameters that [`redact`] does not show as they are.
fn secrets(uri: &str) -> Vec<(&str, &str)> {
    let (before, fragment) = split(uri, '#');
    let query = split(before, '?').1;
    let mut secrets = Vec::new();
    for parameters in query.into_iter().chain(fragment) {
        let names = names(parameters);
        secrets.extend(
            parameters
                .split(['&', ';'])
                .filter(|parameter| shown(parameter, &names).as_deref() != Some(*parameter))
                .filter_map(|parameter| parameter.split_once('='))
                .filter(|(_, value)| !value.is_empty()),
        );
    }
    secrets
}

/// The names of parameters in lower case.
fn names(parameters: &str) -> Vec<String> {
    parameters.split(['&', ';']).map(name).collect()
}

fn name(parameter: &str) -> String {
    unescape(split(parameter, '=').0).to_ascii_lowercase()
}

/// How a parameter is shown beside those of the other `names`; `None`: not at all.
fn shown<'a>(parameter: &'a str, names: &[String]) -> Option<Cow<'a, str>> {
    let own = name(parameter);
    let own = own.as_str();
    let has = |name: &&str| names.iter().any(|other| other == name);
    let together =
        |(all, dropped): &(&[&str], &[&str])| dropped.contains(&own) && all.iter().all(has);
    if NAMES.contains(&own)
        || PREFIXES.iter().any(|prefix| own.starts_with(prefix))
        || PARTS.iter().any(|part| own.contains(part))
        || TOGETHER.iter().any(together)
    {
        return None;
    }
    let Some((written, value)) = parameter.split_once('=') else {
        return Some(parameter.into());
    };
    let plain = unescape(value);
    if EITHER.contains(&own) && plain.len() >= LONG && !plain.contains(['.', '/']) {
        let digest = Sha256::digest(plain.as_bytes());
        return Some(
            format!(
                "{written}=***{:02x}{:02x}{:02x}{:02x}",
                digest[0], digest[1], digest[2], digest[3]
            )
            .into(),
        );
    }
    // A URI within the URI.
    if plain.contains("://") {
        let inner = redact(&plain);
        if inner != plain {
            return Some(
                format!(
                    "{written}={}",
                    utf8_percent_encode(&inner, NON_ALPHANUMERIC)
                )
                .into(),
            );
        }
    }
    Some(parameter.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_never_shown() {
        let uri = "rtsp://anna:se%20cret@camera:554/live?x=a@b";
        assert_eq!(redact(uri), "rtsp://anna:***@camera:554/live?x=a@b");
        assert_eq!(
            hide(&format!("could not open {uri} (anna:se cret)"), uri),
            "could not open rtsp://anna:***@camera:554/live?x=a@b (anna:***)"
        );
        for plain in [
            "http://host/a:b@c.mp4",
            "rtsp://anna@camera/",
            "file:///a.mp4",
        ] {
            assert_eq!(redact(plain), plain);
            assert_eq!(hide(plain, plain), plain);
        }
    }

    #[test]
    fn signatures_of_every_kind_are_left_out() {
        for signed in [
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA%2F2026&X-Amz-Date=20260101T000000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Security-Token=S3CRET&X-Amz-Signature=S3CRET",
            "x-amz-signature=S3CRET",
            "X%2DAmz%2DSignature=S3CRET",
            "AWSAccessKeyId=AKIA&Expires=1&Signature=S3CRET%3D",
            "Policy=S3CRET&Signature=S3CRET&Key-Pair-Id=APKA",
            "X-Goog-Algorithm=a&X-Goog-Credential=b&X-Goog-Signature=S3CRET",
            "GoogleAccessId=a%40b&Expires=1&Signature=S3CRET",
            "sv=2024-11-04&ss=b&srt=o&sp=r&se=2027&st=2026&spr=https&sig=S3CRET",
            "OSSAccessKeyId=a&Expires=1&Signature=S3CRET&security-token=S3CRET",
            "q-sign-algorithm=sha1&q-ak=S3CRET&q-sign-time=1&q-signature=S3CRET",
            "access_token=S3CRET",
            "authToken=S3CRET;expires=1",
            "api_key=S3CRET&hdnts=exp=1~hmac=S3CRET",
            "md5=S3CRET&expires=1",
            "st=S3CRET&e=1",
            "ex=1&is=2&hm=S3CRET",
        ] {
            let uri = format!("https://host/a.mp4?{signed}");
            assert_eq!(redact(&uri), "https://host/a.mp4");
            assert_eq!(
                redact(&format!("https://host/a.mp4#{signed}")),
                "https://host/a.mp4"
            );
            for (first, last) in [("id=7&", ""), ("", "&id=7"), ("", ";id=7")] {
                let uri = format!("https://host/a.mp4?{first}{signed}{last}");
                assert_eq!(redact(&uri), "https://host/a.mp4?id=7");
            }
            let text = hide(&format!("not found: {uri} ({uri}), {signed}"), &uri);
            assert!(!text.contains("S3CRET"), "{text}");
        }
    }

    #[test]
    fn what_says_which_object_is_meant_stays() {
        for plain in [
            "http://host/?id=1&name=a.mp4",
            "http://host/a.mp4?",
            "http://host/a?v=dQw4w9WgXcQ&sp=2&se=3&st=4",
            "http://host/a?author=bach&design=x&passage=2&expand=1",
            "http://host/a?key=videos/a.mp4&session=12#t=10",
            "http://host/a?url=http%3A%2F%2Fother%2Fb.mp4&",
        ] {
            assert_eq!(redact(plain), plain);
        }
    }

    #[test]
    fn a_value_that_may_be_either_is_told_apart_but_not_shown() {
        let [one, two] = ["AIzaSyA-0123456789abcdef", "AIzaSyB-0123456789abcdef"]
            .map(|key| redact(&format!("http://host/a?alt=media&key={key}")));
        assert!(one.starts_with("http://host/a?alt=media&key=***"), "{one}");
        assert!(!one.contains("AIza"), "{one}");
        assert_ne!(one, two);
    }

    #[test]
    fn uris_within_uris_and_those_of_others_are_redacted_as_well() {
        let uri = "http://proxy/?url=https%3A%2F%2Fhost%2Fa.mp4%3Ftoken%3DS3CRET%26id%3D1&x=2";
        assert_eq!(
            redact(uri),
            "http://proxy/?url=https%3A%2F%2Fhost%2Fa%2Emp4%3Fid%3D1&x=2"
        );
        assert_eq!(
            hide(
                "Forbidden (403), URL: http://host/a, Redirect to: https://cdn/a?id=1&sig=S3CRET, sorry",
                "http://host/a"
            ),
            "Forbidden (403), URL: http://host/a, Redirect to: https://cdn/a?id=1, sorry"
        );
    }
}
