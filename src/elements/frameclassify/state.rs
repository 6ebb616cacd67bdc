// SPDX-License-Identifier: MPL-2.0

//! What a running stream needs: which pictures to take, which patches to accept, what was found so far.

use std::sync::Arc;

use gst::prelude::*;

use crate::elements::analysis::{Analysis, Clip};
use crate::elements::contradictions;
use crate::fusion::Sample;
use crate::mel::FrontEnd;
use crate::meta::{Features, Kind, Source, Tags};
use crate::model::{Card, Input, Modality};

use super::picture::Picture;
use super::requests::{Request, Requests, Span};

/// Audio without a single mel patch for this long deserves a word.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(60);

/// Which kind of media passes.
pub enum Branch {
    Video {
        picture: Box<Picture>,
        frame_duration: Option<gst::ClockTime>,
    },
    Audio {
        /// The front end that was last found to be the model's.
        checked: Arc<[(String, String)]>,
        /// Audio that passed before the first patch; unset once one came.
        unfed: Option<gst::ClockTime>,
    },
}

pub struct State {
    pub branch: Branch,
    pub requests: Requests,
    /// Whether media waits for results.
    pub wait: bool,
    /// Time of the next picture to take.
    pub next: Option<gst::ClockTime>,
    /// The turn that brings frames the right way up, from the stream's tags.
    pub orientation: gst_video::VideoOrientationMethod,
    /// Frames without a timestamp so far.
    pub untimed: u64,
    pub last: Option<Tags>,
    clip: Clip,
    /// The pictures that make the clip's result, where it is so many of them; 0: all.
    frames: usize,
    pictures: Sample<Analysis>,
}

impl Branch {
    /// The branch for a stream of `caps`, which `card`'s model must be for; errors are sentences for the user.
    pub fn new(card: &Card, caps: &gst::Caps) -> Result<Self, String> {
        let is_video = caps.structure(0).is_some_and(|s| s.name() == "video/x-raw");
        match (&card.modality, is_video) {
            (
                &Modality::Video {
                    width,
                    height,
                    fit,
                    crop_fraction,
                },
                true,
            ) => {
                let info = gst_video::VideoInfo::from_caps(caps)
                    .map_err(|_| format!("The video caps {caps} cannot be read"))?;
                // 0/1 stands for a variable rate.
                let fps = Some(info.fps()).filter(|fps| fps.numer() > 0);
                Ok(Branch::Video {
                    picture: Box::new(Picture::new(&info, (width, height), fit, crop_fraction)?),
                    frame_duration: fps.and_then(|fps| {
                        gst::ClockTime::SECOND.mul_div_round(fps.denom() as u64, fps.numer() as u64)
                    }),
                })
            }
            (Modality::Audio { .. }, false) => Ok(Branch::Audio {
                checked: Default::default(),
                unfed: Some(gst::ClockTime::ZERO),
            }),
            _ => {
                let (wanted, found) = if is_video {
                    ("pictures", "audio")
                } else {
                    ("audio", "pictures")
                };
                Err(format!(
                    "The model {} is not for {wanted}: choose one whose card says so, or put frameclassify on a branch with {found}",
                    card.name
                ))
            }
        }
    }
}

impl State {
    /// `frames` pictures make the clip's result, 0: all.
    pub fn new(branch: Branch, requests: Requests, wait: bool, frames: usize) -> Self {
        Self {
            branch,
            requests,
            wait,
            next: None,
            orientation: gst_video::VideoOrientationMethod::Identity,
            untimed: 0,
            last: None,
            clip: Clip::default(),
            frames,
            pictures: Sample::new(frames),
        }
    }

    /// Counts an analysis in the clip's result.
    pub fn add(&mut self, analysis: &Analysis) {
        self.clip.add(analysis);
        if self.frames > 0 && self.source() == Source::Video {
            self.pictures.push(analysis.clone());
        }
    }

    /// The result for the whole of the stream so far, which begins anew.
    pub fn take_clip(&mut self) -> Option<Analysis> {
        let all = std::mem::take(&mut self.clip).mean()?;
        let pictures = std::mem::replace(&mut self.pictures, Sample::new(self.frames));
        let mut some = Clip::default();
        pictures.items().for_each(|analysis| some.add(analysis));
        Some(match some.mean() {
            Some(some) => Analysis {
                scores: some.scores,
                ..all
            },
            None => all,
        })
    }

    pub fn source(&self) -> Source {
        match self.branch {
            Branch::Video { .. } => Source::Video,
            Branch::Audio { .. } => Source::Audio,
        }
    }

    /// The requests that follow from `buffer`.
    pub fn read(&mut self, buffer: &gst::BufferRef, interval: u64) -> Result<Vec<Request>, String> {
        match &mut self.branch {
            Branch::Video { .. } => Ok(self.frame(buffer, interval)?.into_iter().collect()),
            Branch::Audio { .. } => self.patches(Features::of_kind(buffer, Kind::Mel)),
        }
    }

    /// The picture in `buffer`, if it is time for one.
    fn frame(&mut self, buffer: &gst::BufferRef, interval: u64) -> Result<Option<Request>, String> {
        let Branch::Video {
            picture,
            frame_duration,
        } = &mut self.branch
        else {
            return Ok(None);
        };
        let time = buffer.pts().or_else(|| {
            let time = frame_duration.map(|duration| duration * self.untimed);
            self.untimed += 1;
            time
        });
        let interval = gst::ClockTime::from_nseconds(interval);
        if let Some((time, next)) = time.zip(self.next)
            && time < next
            && time + interval >= next
        {
            return Ok(None);
        }
        // On the grid of the first picture's time, unless the stream jumped.
        self.next = time.map(|time| match self.next {
            Some(next) if time >= next && time < next + interval => next + interval,
            _ => time + interval,
        });
        Ok(Some(Request {
            span: Span {
                start: time,
                duration: Some(interval),
            },
            input: Input::Frame(picture.scale(buffer, self.orientation)?),
        }))
    }

    /// The mel patches among `features`, found to be what the model was trained on.
    pub fn patches(&mut self, features: Vec<Features>) -> Result<Vec<Request>, String> {
        let card = self.requests.model().card();
        let (
            Branch::Audio { checked, unfed },
            Modality::Audio {
                front_end,
                bands,
                frames,
                min_frames,
            },
        ) = (&mut self.branch, &card.modality)
        else {
            return Ok(Vec::new());
        };
        let mut requests = Vec::new();
        for patch in features
            .into_iter()
            .filter(|features| features.kind == Kind::Mel)
        {
            *unfed = None;
            if *checked != patch.front_end {
                check_front_end(&card.name, front_end, *min_frames, &patch.front_end)?;
                *checked = patch.front_end;
            }
            let fits = matches!(patch.dims[..], [height, width] if height as usize == *bands
                && (*min_frames..=*frames).contains(&(width as usize)));
            if !fits {
                return Err(format!(
                    "The model {} takes mel patches of {bands} bands x {min_frames} to {frames} frames, these are {:?}: unset melspec's bands and patch-frames",
                    card.name, patch.dims
                ));
            }
            requests.push(Request {
                span: Span {
                    start: patch.start,
                    duration: patch.duration,
                },
                input: Input::Mel(patch.data),
            });
        }
        Ok(requests)
    }

    /// Whether audio has just been passing without patches for longer than it should.
    pub fn starved(&mut self, buffer: &gst::BufferRef) -> bool {
        let Branch::Audio {
            unfed: Some(unfed), ..
        } = &mut self.branch
        else {
            return false;
        };
        let before = *unfed;
        *unfed += buffer.duration().unwrap_or_default();
        before < PATIENCE && *unfed >= PATIENCE
    }

    /// Whether the audio that has passed had no patches, and nobody was told.
    pub fn unfed(&self) -> bool {
        matches!(self.branch, Branch::Audio { unfed: Some(unfed), .. } if unfed < PATIENCE)
    }

    /// Forgets what belongs to another part of the stream.
    pub fn restart(&mut self) {
        self.requests.flush();
        self.next = None;
        self.untimed = 0;
        self.last = None;
        self.take_clip();
    }
}

fn check_front_end(
    model: &str,
    theirs: &[(String, String)],
    min_frames: usize,
    ours: &[(String, String)],
) -> Result<(), String> {
    let parse = |fields: &[(String, String)]| {
        FrontEnd::from_fields(
            fields
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str())),
        )
        .map_err(|err| err.to_string())
    };
    let (theirs, ours) = (parse(theirs)?, parse(ours)?);
    contradictions(&ours, &theirs, min_frames).map_or(Ok(()), |contradictions| {
        Err(format!(
            "The mel patches are not what the model {model} was trained on ({contradictions}): unset these properties of melspec"
        ))
    })
}
