// SPDX-License-Identifier: MPL-2.0

//! A page of its own for an input: a timeline with a lane an instrument, pictures, the mel spectrogram and a player; and
//! an index of many.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;

use super::Found;
use crate::report::{Report, Source, Window, clock, rounded};
use crate::segments::{Segment, Settings, results, totals};
use crate::visible::visible;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Lanes at most, so that a page of a hundred labels can be read.
const MOST_LANES: usize = 24;

/// Points of a curve at most; its picture is as wide.
const MOST_POINTS: usize = 1000;

/// Times, and the scores of the labels that have a lane.
type Outline = Vec<(f64, Vec<f32>)>;

/// The page. `media` is where the player finds the input, seen from the page.
pub fn render(found: &Found, media: &str) -> String {
    let report = found.report;
    let duration = report.duration.max(1e-3);
    let mut totals = totals(found.segments);
    totals.truncate(MOST_LANES);
    let labels: Vec<&str> = totals.iter().map(|total| total.label.as_str()).collect();
    let outline = outline(report, found.settings, &labels);
    let name = escape(base_name(&report.name));
    let mut page = head(&name);
    page += &format!(
        "<header><h1>{name}</h1><p class=\"facts\">{}</p>",
        facts(report)
    );
    page += "<ul class=\"totals\">";
    for (index, total) in totals.iter().enumerate() {
        page += &format!(
            "<li><i style=\"background:{}\"></i>{} <b>{}</b></li>",
            colour(index),
            escape(&total.label),
            clock(total.shown as f64)
        );
    }
    page += "</ul></header>\n<main>";
    page += &player(report, media, &labels);
    page += "<section class=\"timeline\" id=\"timeline\" tabindex=\"0\" role=\"slider\" aria-label=\"Position\" aria-valuemin=\"0\"";
    page += &format!(
        " aria-valuemax=\"{}\" aria-valuenow=\"0\">\n",
        duration.round()
    );
    page += &axis(duration);
    page += &film(report, duration);
    for (index, label) in labels.iter().enumerate() {
        let curve = curve(&outline, index, duration);
        page += &lane(found.segments, label, index, duration, &curve);
    }
    if labels.is_empty() {
        page += "<div class=\"lane\"><div class=\"label\"></div><div class=\"track empty\">No instrument was found.</div></div>\n";
    }
    if let Some(jpeg) = &report.spectrogram {
        page += &format!(
            "<div class=\"lane\"><div class=\"label\">sound<small>mel spectrogram</small></div><div class=\"track\"><img class=\"mel\" alt=\"Mel spectrogram\" src=\"{}\"></div></div>\n",
            data(jpeg)
        );
    }
    page += "<div class=\"head\" id=\"head\" hidden></div></section>\n";
    page += "<p class=\"legend\"><span><i class=\"heard\"></i>heard</span><span><i class=\"result\"></i>found</span><span><i class=\"seen\"></i>seen</span><span><i class=\"curve\"></i>score over time</span></p>\n";
    for note in &report.notes {
        page += &format!("<p class=\"note\">{}</p>\n", escape(note));
    }
    page += "</main><div id=\"tip\" hidden></div>\n";
    page += &format!(
        "<script type=\"application/json\" id=\"data\">{}</script>\n",
        scores(&outline, duration)
    );
    page += &format!("<script>\n{SCRIPT}</script>\n</html>\n");
    page
}

/// What the index knows of an input.
pub struct Entry {
    pub name: String,
    /// The page's file name; an input that could not be tagged has none, but a cause.
    pub page: Result<String, String>,
    pub duration: f64,
    pub segments: Vec<Segment>,
}

/// A page that lists others.
pub fn index(entries: &[Entry]) -> String {
    let mut page = head("Instruments");
    let done = entries.iter().filter(|entry| entry.page.is_ok()).count();
    let length: f64 = entries.iter().map(|entry| entry.duration).sum();
    page += &format!(
        "<header><h1>Instruments</h1><p class=\"facts\">{done} of {} inputs, {}</p></header>\n<main><table class=\"index\">",
        entries.len(),
        clock(length)
    );
    page += "<tr><th>input</th><th>length</th><th>over time</th><th>instruments</th></tr>\n";
    for entry in entries {
        let name = escape(base_name(&entry.name));
        let cells = match &entry.page {
            Err(cause) => format!(
                "<td>{name}</td><td></td><td colspan=\"2\" class=\"note\">{}</td>",
                escape(cause)
            ),
            Ok(file) => {
                let totals = totals(&entry.segments);
                let mut strip = String::new();
                for segment in &entry.segments {
                    let place = totals
                        .iter()
                        .position(|total| total.label == segment.label)
                        .unwrap_or(0);
                    strip += &bar(
                        "",
                        segment,
                        entry.duration.max(1e-3),
                        &format!("background:{};", colour(place)),
                        "",
                    );
                }
                let words = totals.iter().take(4).enumerate().map(|(place, total)| {
                    format!(
                        "<i style=\"background:{}\"></i>{} {}",
                        colour(place),
                        escape(&total.label),
                        clock(total.shown as f64)
                    )
                });
                format!(
                    "<td><a href=\"{}\">{name}</a></td><td>{}</td><td class=\"strip\"><div>{strip}</div></td><td class=\"words\">{}</td>",
                    escape(&link(file)),
                    clock(entry.duration),
                    words.collect::<Vec<_>>().join(" ")
                )
            }
        };
        page += &format!("<tr>{cells}</tr>\n");
    }
    page += "</table></main></html>\n";
    page
}

fn head(title: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n"
    )
}

fn facts(report: &Report) -> String {
    let mut models: Vec<&str> = report
        .windows
        .iter()
        .map(|window| window.model.as_str())
        .collect();
    models.sort_unstable();
    models.dedup();
    let (length, elapsed) = (clock(report.duration), report.elapsed);
    let mut facts = format!(
        "{length} · tagged in {elapsed:.1} s · {}",
        escape(&models.join(", "))
    );
    if report.interrupted {
        facts += " · interrupted";
    }
    facts
}

fn player(report: &Report, media: &str, labels: &[&str]) -> String {
    let seen = report.is_video();
    let source = escape(media);
    let mut player = format!(
        "<section class=\"player{}\">",
        if seen { "" } else { " sound" }
    );
    player += &if seen {
        // What the browser cannot play has at least a picture.
        let first = report.pictures.first();
        let poster = first.map(|picture| format!(" poster=\"{}\"", data(&picture.jpeg)));
        format!(
            "<video id=\"media\" controls preload=\"metadata\" src=\"{source}\"{}></video>",
            poster.unwrap_or_default()
        )
    } else {
        format!("<audio id=\"media\" controls preload=\"metadata\" src=\"{source}\"></audio>")
    };
    player += "<div class=\"now\"><p><output id=\"clock\">0:00</output></p><ol id=\"now\">";
    for (index, label) in labels.iter().take(8).enumerate() {
        player += &format!(
            "<li data-label=\"{index}\"><span>{}</span><meter min=\"0\" max=\"1\" value=\"0\" style=\"--c:{}\"></meter><b></b></li>",
            escape(label),
            colour(index)
        );
    }
    player += "</ol></div></section>\n";
    player
}

/// Ticks at round times, about ten of them.
fn axis(duration: f64) -> String {
    let steps = [
        1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0,
    ];
    let step = steps
        .into_iter()
        .find(|step| duration / step <= 12.0)
        .unwrap_or(3600.0 * (duration / 43_200.0).ceil());
    let mut ticks = String::new();
    let mut time = 0.0;
    while time < duration {
        ticks += &format!(
            "<span style=\"left:{}%\">{}</span>",
            percent(time, duration),
            clock(time)
        );
        time += step;
    }
    format!(
        "<div class=\"lane axis\"><div class=\"label\"></div><div class=\"track\">{ticks}</div></div>\n"
    )
}

/// The pictures that were looked at, side by side at about their times.
fn film(report: &Report, duration: f64) -> String {
    if report.pictures.is_empty() {
        return String::new();
    }
    let pictures: Vec<_> = report
        .pictures
        .iter()
        .map(|picture| {
            let share = percent(picture.time, duration);
            let time = clock(picture.time);
            format!(
                "<img alt=\"{time}\" title=\"{time}\" data-share=\"{share}\" src=\"{}\">",
                data(&picture.jpeg)
            )
        })
        .collect();
    format!(
        "<div class=\"lane film\"><div class=\"label\">pictures</div><div class=\"track\">{}</div></div>\n",
        pictures.concat()
    )
}

/// An instrument's segments over the curve of its score; above and below a bar whether it is heard and seen.
fn lane(segments: &[Segment], label: &str, index: usize, duration: f64, curve: &str) -> String {
    let mut bars = curve.to_owned();
    for segment in segments.iter().filter(|segment| segment.label == label) {
        let percent = |score: f32| format!("{:.0} %", 100.0 * score);
        let lane = |name: &str, score: Option<f32>| Some(format!(", {name} {}", percent(score?)));
        let tip = format!(
            "{label}  {} – {}\n{}{}{}",
            clock(segment.start),
            clock(segment.end),
            percent(segment.score),
            lane("heard", segment.heard).unwrap_or_default(),
            lane("seen", segment.seen).unwrap_or_default(),
        );
        let classes = [
            ("heard", segment.is_heard()),
            ("result", true),
            ("seen", segment.is_seen()),
        ];
        for (class, _) in classes.iter().filter(|(_, shown)| *shown) {
            bars += &bar(class, segment, duration, "", &tip);
        }
    }
    let (label, colour) = (escape(label), colour(index));
    format!(
        "<div class=\"lane instrument\" style=\"--c:{colour};\"><div class=\"label\">{label}</div><div class=\"track\">{bars}</div></div>\n"
    )
}

fn bar(class: &str, segment: &Segment, duration: f64, style: &str, tip: &str) -> String {
    let (left, width) = (
        percent(segment.start, duration),
        percent(segment.end - segment.start, duration),
    );
    let tip = match tip {
        "" => String::new(),
        tip => format!(" data-tip=\"{}\"", escape(tip)),
    };
    format!("<i class=\"{class}\" style=\"left:{left}%;width:{width}%;{style}\"{tip}></i>")
}

/// The scores of the labels over time: of the fusion or, without one, of the sound or of the pictures. Lines are drawn
/// from point to point; before and after a time without results the scores are 0.
fn outline(report: &Report, settings: &Settings, labels: &[&str]) -> Outline {
    let of = |source| results(report, source);
    let results = [Source::Fused, Source::Audio, Source::Video].map(of);
    let results = results.into_iter().find(|results| !results.is_empty());
    let results = results.unwrap_or_default();
    let time = |window: &Window| window.centre().min(report.duration);
    let near = settings.window.max(report.duration / MOST_POINTS as f64);
    // Of a long input, a point is the mean of several results.
    let several = results.len().div_ceil(MOST_POINTS).max(1);
    let point = |group: &[&Window]| {
        let mean = |label: &&str| {
            let sum: f32 = group.iter().map(|window| window.score(label)).sum();
            sum / group.len() as f32
        };
        let middle = (time(group[0]) + time(group[group.len() - 1])) / 2.0;
        (middle, labels.iter().map(mean).collect::<Vec<_>>())
    };
    let mut outline = Outline::new();
    for stretch in results.chunk_by(|a, b| time(b) - time(a) <= near) {
        let points: Vec<_> = stretch.chunks(several).map(point).collect();
        let reach = settings.window / 2.0;
        let begin = (time(stretch[0]) - reach).max(0.0);
        let end = (time(stretch[stretch.len() - 1]) + reach).min(report.duration);
        let (first, last) = (points[0].1.clone(), points[points.len() - 1].1.clone());
        let none = |time| (time, vec![0.0; labels.len()]);
        outline.extend((begin > 0.0).then(|| none(begin)));
        outline.push((begin, first));
        outline.extend(points);
        outline.push((end, last));
        outline.extend((end < report.duration).then(|| none(end)));
    }
    outline
}

/// The outline's area for one of its labels, behind the bars.
fn curve(outline: &Outline, label: usize, duration: f64) -> String {
    let (Some((begin, _)), Some((end, _))) = (outline.first(), outline.last()) else {
        return String::new();
    };
    let point = |time: f64, score: f32| {
        let height = rounded(100.0 - 100.0 * f64::from(score));
        format!("{} {height}", 10.0 * percent(time, duration))
    };
    let points = outline
        .iter()
        .map(|(time, scores)| point(*time, scores[label]));
    let closed = [point(*begin, 0.0)].into_iter().chain(points);
    let closed: Vec<_> = closed.chain([point(*end, 0.0)]).collect();
    format!(
        "<svg viewBox=\"0 0 1000 100\" preserveAspectRatio=\"none\" aria-hidden=\"true\"><path d=\"M{}Z\"/></svg>",
        closed.join("L")
    )
}

/// What the script needs: the scores over time of the labels that have a lane.
fn scores(outline: &Outline, duration: f64) -> String {
    let percent = |score: &f32| (100.0 * score).round() as u32;
    let point = |(time, scores): &(f64, Vec<f32>)| {
        let scores: Vec<_> = scores.iter().map(percent).collect();
        json!([(time * 100.0).round() / 100.0, scores])
    };
    let points: Vec<_> = outline.iter().map(point).collect();
    // The text must not end the script element.
    json!({"duration": rounded(duration), "points": points})
        .to_string()
        .replace('<', "\\u003c")
}

/// A colour for each instrument, far from its neighbours' and legible on light and dark grounds.
fn colour(index: usize) -> String {
    const HUES: [u32; 8] = [262, 24, 165, 330, 205, 90, 48, 295];
    format!(
        "oklch(65% .15 {})",
        (HUES[index % HUES.len()] + 17 * (index / HUES.len()) as u32) % 360
    )
}

fn percent(time: f64, duration: f64) -> f64 {
    rounded(100.0 * time / duration)
}

fn data(jpeg: &[u8]) -> String {
    format!("data:image/jpeg;base64,{}", BASE64_STANDARD.encode(jpeg))
}

fn base_name(name: &str) -> &str {
    name.trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or(name)
}

/// A file name as a relative URI.
pub fn link(file: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let part = |byte: u8| {
        if plain(byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    file.bytes().map(part).collect()
}

fn escape(text: &str) -> String {
    // The lines of a hint stay lines.
    let lines: Vec<_> = text.split('\n').map(visible).collect();
    let text = lines
        .join("\n")
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    text.replace('"', "&quot;").replace('\n', "&#10;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Picture;
    use crate::segments::segments;
    use crate::segments::tests::{SETTINGS, perfect, window};

    fn report() -> Report {
        // The guitar is heard and seen, the trumpet only heard, and at the end, without sound, something is only seen.
        let label = |time: f64| if time < 15.0 { "Guitar" } else { "Trumpet" };
        let mut windows = perfect(Source::Fused, 30.0, label);
        windows.extend(perfect(Source::Audio, 30.0, label));
        windows.push(window(Source::Video, 7.0, 8.0, &[("Guitar", 0.9)]));
        windows.push(window(
            Source::Video,
            36.0,
            37.0,
            &[("Drum <kit> & \"co\"", 0.9)],
        ));
        Report {
            name: "dir/a <script> b.mp4".into(),
            duration: 40.0,
            elapsed: 1.0,
            windows,
            pictures: vec![Picture {
                time: 15.0,
                jpeg: vec![1, 2, 3],
            }],
            spectrogram: Some(vec![4, 5, 6]),
            ..Report::default()
        }
    }

    fn page(report: &Report) -> String {
        let segments = segments(report, &SETTINGS);
        render(
            &Found {
                report,
                segments: &segments,
                settings: &SETTINGS,
                windows: false,
            },
            "../a%20b.mp4",
        )
    }

    #[test]
    fn an_instrument_has_a_lane_with_its_times() {
        let page = page(&report());
        let lanes: Vec<_> = page.matches("class=\"lane instrument\"").collect();
        assert_eq!(lanes.len(), 3);
        let bar = |class: &str| {
            let from = page.find(&format!("<i class=\"{class}\" style")).unwrap();
            page[from..].split("</i>").next().unwrap().to_owned()
        };
        assert_eq!(
            bar("result"),
            "<i class=\"result\" style=\"left:0%;width:37.5%;\" data-tip=\"Guitar  0:00 – 0:15&#10;83 %, heard 91 %, seen 90 %\">"
        );
        let places = |class: &str| -> Vec<&str> {
            let begin = format!("<i class=\"{class}\" style=\"");
            let bars = page.split(begin.as_str()).skip(1);
            bars.map(|bar| bar.split(";\"").next().unwrap()).collect()
        };
        let (guitar, trumpet, drums) = (
            "left:0%;width:37.5%",
            "left:37.5%;width:37.5%",
            "left:90%;width:10%",
        );
        assert_eq!(places("heard"), [guitar, trumpet]);
        assert_eq!(places("result"), [guitar, trumpet, drums]);
        assert_eq!(places("seen"), [guitar, drums]);
        assert!(page.contains("src=\"../a%20b.mp4\""));
        assert!(
            page.contains("data:image/jpeg;base64,AQID")
                && page.contains("data:image/jpeg;base64,BAUG")
        );
    }

    #[test]
    fn nothing_of_the_input_becomes_markup() {
        let page = page(&report());
        assert_eq!(page.matches("</script>").count(), 2, "{page}");
        assert!(page.contains("a &lt;script&gt; b.mp4"));
        assert!(page.contains("Drum &lt;kit&gt; &amp; &quot;co&quot;"));
        let data = page
            .split("id=\"data\">")
            .nth(1)
            .unwrap()
            .split("</script>")
            .next()
            .unwrap();
        let data: serde_json::Value = serde_json::from_str(data).unwrap();
        assert_eq!(data["duration"], 40.0);
        // Of twelve results, and one more where they begin; where they end before the file, the scores fall to 0.
        let points = data["points"].as_array().unwrap();
        assert_eq!(points.len(), 15, "{points:?}");
        assert_eq!(points[0], json!([0.0, [100, 0, 0]]));
        assert_eq!(points[14], json!([30.0, [0, 0, 0]]));
    }

    #[test]
    fn it_needs_nothing_from_elsewhere() {
        let page = page(&report());
        let local = page
            .replace("src=\"data:", "")
            .replace("src=\"../a%20b.mp4\"", "")
            .replace("poster=\"data:", "");
        for outside in ["src=\"", "href=", "@import", "http:", "https:", "url("] {
            assert!(!local.contains(outside), "{outside}");
        }
    }

    #[test]
    fn the_index_links_to_pages_and_names_failures() {
        let report = report();
        let entries = [
            Entry {
                name: "a.mp4".into(),
                page: Ok("a b.mp4.html".into()),
                duration: 40.0,
                segments: segments(&report, &SETTINGS),
            },
            Entry {
                name: "b.mp4".into(),
                page: Err("cannot be read".into()),
                duration: 0.0,
                segments: Vec::new(),
            },
        ];
        let page = index(&entries);
        assert!(
            page.contains("<a href=\"a%20b.mp4.html\">a.mp4</a>"),
            "{page}"
        );
        assert!(page.contains("1 of 2 inputs, 0:40") && page.contains("cannot be read"));
    }

    #[test]
    fn an_input_without_anything_says_so() {
        let page = page(&Report {
            name: "a.wav".into(),
            duration: 2.0,
            ..Report::default()
        });
        assert!(page.contains("No instrument was found."));
        assert!(!page.contains("class=\"lane film\"") && page.contains("<audio"));
    }

    #[test]
    fn a_page_of_many_results_or_of_a_jump_of_thirty_years_stays_small() {
        let later = 30.0 * 365.25 * 86_400.0;
        let starts = (0..20_000).map(|index| 2.5 * f64::from(index));
        let scores: &[(&str, f32)] = &[("Guitar", 0.9), ("Drums", 0.8)];
        let windows = starts
            .chain([later])
            .map(|start| window(Source::Fused, start, start + 10.0, scores));
        let report = Report {
            duration: later + 10.0,
            windows: windows.collect(),
            ..Report::default()
        };
        let page = page(&report);
        assert!(page.len() < 150_000, "{}", page.len());
        let data = page.split("id=\"data\">").nth(1).unwrap();
        let data: serde_json::Value =
            serde_json::from_str(data.split("</script>").next().unwrap()).unwrap();
        let points = data["points"].as_array().unwrap();
        assert!(points.len() <= MOST_POINTS + 10, "{}", points.len());
        // The results after the jump do not speak for the time before it.
        assert!(
            points.contains(&json!([later, [0, 0]])) && points.contains(&json!([later, [90, 80]]))
        );
    }
}
