// SPDX-License-Identifier: MPL-2.0

//! What a started element needs: its model, which pictures to take, which patches to accept, what was found so far.

use std::sync::Arc;

use gst::prelude::MulDiv;
use gst_video::VideoOrientationMethod;

use super::picture::Picture;
use super::requests::{Answer, Request, Span, Work};
use super::signal::{Motion, is_blank};
use super::tagger::{Asked, Media, Tagger};
use crate::elements::Trained;
use crate::elements::analysis::{Analysis, Clip};
use crate::elements::inference::{Latest, Named};
use crate::fusion::Sample;
use crate::grid::Grid;
use crate::mel::FrontEnd;
use crate::meta::{Features, Kind, Source};
use crate::model::{Card, Error, Input, Modality, Output};

/// A warning follows after this much audio without a mel patch.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(60);

#[derive(Default)]
pub struct State {
    /// The model that runs, from READY on where it can be known.
    pub tagger: Option<Tagger>,
    /// The model that it replaced in the running stream, until its own first result.
    pub before: Option<Tagger>,
    /// The model that is being opened to take its place.
    pub opening: Option<Arc<Asked>>,
    /// No model could be opened, and an error says so.
    pub failed: bool,
    /// From PAUSED on.
    pub stream: Option<Stream>,
}

/// How the media that passes becomes input of the model.
pub enum Branch {
    Video {
        picture: Box<Picture>,
        frame_duration: Option<gst::ClockTime>,
    },
    Audio {
        trained: Box<Trained>,
        /// The front end of the patches; the model's until one came.
        front_end: FrontEnd,
        /// The same as the latest patch has it; empty until one came.
        fields: Arc<[(String, String)]>,
        /// Audio that passed before the first patch; unset once one came, or a warning was posted.
        unfed: Option<gst::ClockTime>,
    },
}

pub struct Stream {
    pub caps: Option<gst::Caps>,
    /// Set when both the caps and the model are known and agree.
    pub branch: Option<Branch>,
    /// Whether media waits for results.
    pub wait: bool,
    /// The event that started it.
    start: Option<gst::Seqnum>,
    pub reverse: bool,
    pub grid: Grid,
    motion: Motion,
    /// What the model of that card made of a picture of that scene, the latest.
    known: Option<(Arc<Card>, u64, Output)>,
    /// The turn that brings frames the right way up, from the stream's tags.
    pub orientation: VideoOrientationMethod,
    /// Frames without a timestamp so far.
    untimed: u64,
    pub latest: Option<Latest>,
    pub named: Named,
    whole: Option<Whole>,
    /// The number of pictures that make the result for the whole stream; 0: all.
    frames: usize,
}

/// The result for the whole of a stream, as far as one model has seen it.
struct Whole {
    card: Arc<Card>,
    clip: Clip,
    pictures: Option<Sample<Analysis>>,
}

/// What became of answers.
#[derive(Default)]
pub struct Settled {
    pub results: Vec<(Arc<Card>, Span, Output)>,
    /// Failures of models that were replaced.
    pub ignored: usize,
    /// Why the model that ran gave way to the one before it; it is the last of `unused`.
    pub gave_way: Option<Error>,
    /// Models that are not needed any more; to be dropped without a lock, as closing a model takes a while.
    pub unused: Vec<Tagger>,
}

impl Branch {
    /// The branch for a stream of `caps`, which `card`'s model must be for; errors are sentences for the user.
    pub fn new(card: &Card, caps: &gst::Caps) -> Result<Self, String> {
        let is_video = Media::of(caps) == Some(Media::Video);
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
                let is_field = info.interlace_mode() == gst_video::VideoInterlaceMode::Alternate;
                let per_frame = if is_field { 2 } else { 1 };
                Ok(Branch::Video {
                    picture: Box::new(Picture::new(&info, (width, height), fit, crop_fraction)?),
                    frame_duration: fps.and_then(|fps| {
                        let (frames, seconds) = (fps.numer() as u64, fps.denom() as u64);
                        gst::ClockTime::SECOND.mul_div_round(seconds, frames * per_frame)
                    }),
                })
            }
            (
                Modality::Audio {
                    front_end,
                    min_frames,
                },
                false,
            ) => Ok(Branch::Audio {
                trained: Box::new(Trained {
                    front_end: front_end.clone(),
                    min_frames: *min_frames,
                }),
                front_end: front_end.clone(),
                fields: Default::default(),
                unfed: Some(gst::ClockTime::ZERO),
            }),
            _ => {
                let (wanted, found) = if is_video {
                    ("pictures", "audio")
                } else {
                    ("audio", "pictures")
                };
                Err(format!(
                    "The model {} is not for {wanted}: choose a model for {wanted}, or put frameclassify on a branch with {found}",
                    card.name
                ))
            }
        }
    }
}

impl State {
    /// Has `tagger` take the place of the model that runs. Gives a model that is not needed any more.
    ///
    /// # Errors
    /// A sentence for the user when the model cannot take what passes; nothing changes then.
    pub fn install(&mut self, mut tagger: Tagger) -> Result<Option<Tagger>, String> {
        let same = |open: &Option<Tagger>| {
            let open = open.as_ref();
            let open = open.filter(|open| Arc::ptr_eq(open.client.model(), tagger.client.model()));
            open.map(|open| open.card.clone())
        };
        let (running, before) = (same(&self.tagger), same(&self.before));
        let (again, back) = (running.is_some(), before.is_some());
        if let Some(card) = running.or(before) {
            tagger.card = card;
        }
        self.branch(&tagger.card)?;
        let replaced = self.tagger.replace(tagger);
        if back && !again {
            self.before = None;
        } else if self.before.is_none() && !again && self.runs() {
            self.before = replaced;
            return Ok(None);
        }
        Ok(replaced)
    }

    /// Prepares what passes for the model of `card`.
    fn branch(&mut self, card: &Card) -> Result<(), String> {
        let Some(stream) = &mut self.stream else {
            return Ok(());
        };
        let Some(caps) = &stream.caps else {
            return Ok(());
        };
        let branch = Branch::new(card, caps)?;
        match (&mut stream.branch, branch) {
            (
                Some(Branch::Audio {
                    trained, front_end, ..
                }),
                Branch::Audio { trained: new, .. },
            ) => {
                // `melspec` does not change its patches in mid-stream.
                if let Some(differences) = new.contradictions(front_end) {
                    return Err(format!(
                        "It takes other mel patches than those of the stream ({differences}): stop the stream before changing to it"
                    ));
                }
                *trained = new;
            }
            (before, branch) => *before = Some(branch),
        }
        Ok(())
    }

    /// Sorts answers into results and failures. Of a model that another has replaced, a failure means nothing; one that
    /// fails before its first result gives way to the model that it replaced.
    ///
    /// # Errors
    /// The failure of a model that has no other to give way to.
    pub fn settle(&mut self, answers: Vec<Answer>) -> Result<Settled, Error> {
        let mut settled = Settled::default();
        for Answer { card, span, result } in answers {
            let running = self.tagger.as_ref();
            let is_running = running.is_some_and(|running| Arc::ptr_eq(&running.card, &card));
            match result {
                Ok(output) => {
                    if is_running {
                        settled.unused.extend(self.before.take());
                    }
                    settled.results.push((card, span, output));
                }
                Err(_) if !is_running => settled.ignored += 1,
                Err(error) => {
                    let before = self.before.take().ok_or_else(|| error.clone())?;
                    // The caps may have changed since.
                    self.branch(&before.card).map_err(|_| error.clone())?;
                    let failed = self.tagger.replace(before);
                    settled.unused.extend(failed);
                    settled.gave_way = Some(error);
                }
            }
        }
        Ok(settled)
    }

    /// Whether a model can take what passes.
    pub fn runs(&self) -> bool {
        let stream = self.stream.as_ref();
        stream.is_some_and(|stream| stream.branch.is_some())
    }

    /// Whether nothing runs until the model is open.
    pub fn is_waiting(&self) -> bool {
        self.opening.is_some() && self.stream.is_some() && !self.runs()
    }

    /// Whether `asked` is being opened, and nothing was asked for since.
    pub fn is_opening(&self, asked: &Arc<Asked>) -> bool {
        let latest = self.opening.as_ref();
        latest.is_some_and(|latest| Arc::ptr_eq(latest, asked))
    }

    /// The requests that follow from `buffer`.
    pub fn read(
        &mut self,
        buffer: &gst::BufferRef,
        interval: gst::ClockTime,
    ) -> Result<Vec<Request>, String> {
        let is_audio = self.stream.as_ref().and_then(Stream::media) == Some(Media::Audio);
        if is_audio {
            return self.patches(Features::of_kind(buffer, Kind::Mel));
        }
        Ok(self.frame(buffer, interval)?.into_iter().collect())
    }

    /// The picture in `buffer`, if it is time for one.
    fn frame(
        &mut self,
        buffer: &gst::BufferRef,
        interval: gst::ClockTime,
    ) -> Result<Option<Request>, String> {
        let (Some(tagger), Some(stream)) = (&self.tagger, &mut self.stream) else {
            return Ok(None);
        };
        let Some(Branch::Video {
            picture,
            frame_duration,
        }) = &mut stream.branch
        else {
            return Ok(None);
        };
        let time = buffer.pts().or_else(|| {
            let time = frame_duration.map(|duration| duration.saturating_mul(stream.untimed));
            stream.untimed += 1;
            time
        });
        let (at, each) = (time.map(gst::ClockTime::nseconds), interval.nseconds());
        if !stream.grid.takes(at, each, stream.reverse) {
            return Ok(None);
        }
        let rgb = picture.scale(buffer, stream.orientation)?;
        let (still, scene) = stream.motion.next(&rgb, picture.width());
        let of = Span {
            start: time,
            duration: Some(interval),
            media: 1.0,
            blank: is_blank(&rgb),
            still,
            scene,
        };
        let work = match &stream.known {
            Some((card, known, output)) if Arc::ptr_eq(card, &tagger.card) && *known == scene => {
                Work::Repeat(output.clone())
            }
            _ => Work::Run(Input::Frame(rgb)),
        };
        Ok(Some(request(tagger, of, work)))
    }

    /// The mel patches among `features`, found to be what the model was trained on.
    pub fn patches(&mut self, features: Vec<Features>) -> Result<Vec<Request>, String> {
        let (Some(tagger), Some(stream)) = (&self.tagger, &mut self.stream) else {
            return Ok(Vec::new());
        };
        let Some(Branch::Audio {
            trained,
            front_end,
            fields,
            unfed,
        }) = &mut stream.branch
        else {
            return Ok(Vec::new());
        };
        let mut requests = Vec::new();
        for patch in features
            .into_iter()
            .filter(|features| features.kind == Kind::Mel)
        {
            *unfed = None;
            let name = &tagger.card.name;
            if *fields != patch.front_end {
                let found = read(&patch.front_end)?;
                if let Some(differences) = trained.contradictions(&found) {
                    return Err(format!(
                        "The mel patches are not what the model {name} was trained on ({differences}): unset these properties of melspec"
                    ));
                }
                (*front_end, *fields) = (found, patch.front_end);
            }
            let bands = trained.front_end.bands;
            let fits = matches!(patch.dims[..], [height, width]
                if height as usize == bands && trained.takes(width as usize));
            if !fits {
                let (min_frames, frames) = (trained.min_frames, trained.front_end.patch_frames);
                let frames = if min_frames == frames {
                    frames.to_string()
                } else {
                    format!("{min_frames} to {frames}")
                };
                return Err(format!(
                    "The model {name} takes mel patches of {bands} bands x {frames} frames, but these are {:?}: unset melspec's bands and patch-frames",
                    patch.dims
                ));
            }
            let of = Span {
                start: patch.start,
                duration: patch.duration,
                media: patch.media,
                blank: patch.blank,
                still: false,
                scene: 0,
            };
            requests.push(request(tagger, of, Work::Run(Input::Mel(patch.data))));
        }
        Ok(requests)
    }
}

fn request(tagger: &Tagger, span: Span, work: Work) -> Request {
    Request {
        tagger: tagger.clone(),
        span,
        work,
    }
}

impl Stream {
    /// `frames` pictures make the result for the whole stream, 0: all.
    pub fn new(frames: usize) -> Self {
        Self {
            caps: None,
            branch: None,
            wait: true,
            start: None,
            reverse: false,
            grid: Grid::default(),
            motion: Motion::default(),
            known: None,
            orientation: VideoOrientationMethod::Identity,
            untimed: 0,
            latest: None,
            named: Named::default(),
            whole: None,
            frames,
        }
    }

    pub fn media(&self) -> Option<Media> {
        Media::of(self.caps.as_ref()?)
    }

    pub fn source(&self) -> Source {
        match self.media() {
            Some(Media::Audio) => Source::Audio,
            _ => Source::Video,
        }
    }

    /// Keeps what a picture's model made of it for pictures that do not differ.
    pub fn remember(&mut self, card: &Arc<Card>, span: &Span, output: &Output) {
        if matches!(card.modality, Modality::Video { .. }) {
            self.known = Some((card.clone(), span.scene, output.clone()));
        }
    }

    /// Counts an analysis by the model of `card` in the result for the whole stream; `running` is
    /// the card of the model that runs now. Gives the result of the model before it, if there was another.
    pub fn add(
        &mut self,
        card: &Arc<Card>,
        running: &Arc<Card>,
        analysis: &Analysis,
    ) -> Option<(Arc<Card>, Analysis)> {
        let counts = |of: &Arc<Card>| {
            let whole = self.whole.as_ref();
            whole.is_some_and(|whole| Arc::ptr_eq(&whole.card, of))
        };
        if counts(running) && !Arc::ptr_eq(card, running) {
            // The last answer of a model that was replaced, after the first of the new one.
            return None;
        }
        let before = if counts(card) {
            None
        } else {
            self.take_whole()
        };
        let whole = self.whole.get_or_insert_with(|| Whole {
            card: card.clone(),
            clip: Clip::default(),
            pictures: (self.frames > 0 && matches!(card.modality, Modality::Video { .. }))
                .then(|| Sample::new(self.frames)),
        });
        whole.clip.add(analysis);
        if let Some(pictures) = &mut whole.pictures {
            pictures.push(analysis.clone());
        }
        before
    }

    /// The result for the whole of the stream so far, which begins anew, and the card of its model.
    pub fn take_whole(&mut self) -> Option<(Arc<Card>, Analysis)> {
        let Whole {
            card,
            clip,
            pictures,
        } = self.whole.take()?;
        let all = clip.mean()?;
        let mut some = Clip::default();
        if let Some(pictures) = &pictures {
            pictures.items().for_each(|analysis| some.add(analysis));
        }
        let scores = some.mean().map(|some| some.scores);
        let analysis = match scores {
            Some(scores) => Analysis { scores, ..all },
            None => all,
        };
        Some((card, analysis))
    }

    /// Whether audio has just been passing without patches for longer than it should.
    pub fn starved(&mut self, buffer: &gst::BufferRef) -> bool {
        let Some(Branch::Audio {
            unfed: unfed @ Some(_),
            ..
        }) = &mut self.branch
        else {
            return false;
        };
        let duration = buffer.duration().unwrap_or_default();
        *unfed = unfed
            .map(|time| time.saturating_add(duration))
            .filter(|time| *time < PATIENCE);
        unfed.is_none()
    }

    /// Whether the audio that has passed had no patches, which is said only once.
    pub fn take_unfed(&mut self) -> bool {
        match &mut self.branch {
            Some(Branch::Audio { unfed, .. }) => unfed.take().is_some(),
            _ => false,
        }
    }

    /// Whether the event of `seqnum` starts another stream than the one that runs: sticky events may come twice.
    pub fn starts(&mut self, seqnum: gst::Seqnum) -> bool {
        self.start.replace(seqnum) != Some(seqnum)
    }

    /// Forgets what belongs to another part of the stream, or to another stream.
    pub fn restart(&mut self) {
        self.grid.restart();
        self.motion.restart();
        self.untimed = 0;
        self.latest = None;
        self.named = Named::default();
        self.whole = None;
    }
}

/// The front end that text describes.
fn read(fields: &[(String, String)]) -> Result<FrontEnd, String> {
    let fields = fields.iter();
    FrontEnd::from_fields(fields.map(|(key, value)| (key.as_str(), value.as_str())))
        .map_err(|err| err.to_string())
}
