"use strict";
const { duration, points } = JSON.parse(document.getElementById("data").textContent);
const [timeline, head, tip, now, clock, media] = ["timeline", "head", "tip", "now", "clock", "media"].map((id) => document.getElementById(id));
let position = 0;

const time = (seconds) => {
  const whole = Math.round(seconds), pad = (value) => String(value).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours ? `${hours}:${pad(minutes)}:${pad(whole % 60)}` : `${minutes}:${pad(whole % 60)}`;
};

// All tracks lie above one another.
const track = () => timeline.querySelector(".track").getBoundingClientRect();

// The scores at a time, between the two results around it.
const scores = (at) => {
  const next = points.findIndex(([then]) => then >= at);
  if (next <= 0) return (points.at(next) || [0, []])[1];
  const [[from, low], [to, high]] = [points[next - 1], points[next]];
  const share = (at - from) / (to - from || 1);
  return low.map((value, index) => value + share * (high[index] - value));
};

const show = () => {
  const own = track(), all = timeline.getBoundingClientRect();
  head.hidden = false;
  head.style.left = `${own.left - all.left - timeline.clientLeft + own.width * Math.min(position / duration, 1)}px`;
  clock.textContent = time(position);
  timeline.setAttribute("aria-valuenow", Math.round(position));
  timeline.setAttribute("aria-valuetext", time(position));
  const values = scores(position);
  for (const item of now.children) {
    const value = values[item.dataset.label] || 0;
    item.querySelector("meter").value = value / 100;
    item.querySelector("b").textContent = `${Math.round(value)} %`;
    item.classList.toggle("on", value >= 24);
  }
};

const seek = (seconds) => {
  position = Math.max(0, Math.min(seconds, duration));
  if (media.readyState > 0) media.currentTime = position;
  show();
};

timeline.addEventListener("click", (event) => {
  const own = track(), share = event.target.dataset.share;
  seek(share === undefined ? ((event.clientX - own.left) / own.width) * duration : (share / 100) * duration);
});
timeline.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -5, ArrowRight: 5, PageDown: 30, PageUp: -30 }[event.key];
  if (step !== undefined) seek(position + step);
  else if (event.key === "Home" || event.key === "End") seek(event.key === "Home" ? 0 : duration);
  else if (event.key === " ") media.paused ? media.play() : media.pause();
  else return;
  event.preventDefault();
});
timeline.addEventListener("pointermove", (event) => {
  const own = track(), at = ((event.clientX - own.left) / own.width) * duration;
  const text = event.target.dataset.tip || (at >= 0 && at <= duration ? time(at) : "");
  tip.hidden = !text;
  tip.textContent = text;
  tip.style.left = `${Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8)}px`;
  tip.style.top = `${event.clientY + 18}px`;
});
timeline.addEventListener("pointerleave", () => { tip.hidden = true; });
// Twenty times a second while it plays: `timeupdate` comes four times.
setInterval(() => { if (!media.paused) { position = media.currentTime; show(); } }, 50);
media.addEventListener("seeked", () => { position = media.currentTime; show(); });
// The timeline works without a player, for what the browser cannot play.
media.addEventListener("error", () => { media.hidden = true; media.parentElement.classList.add("sound"); });
addEventListener("resize", show);
show();
