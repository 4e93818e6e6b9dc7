// What a page needs beyond HTML: the banner of a lost connection, times in the browser's zone, one click at a time.
"use strict";
const banner = document.getElementById("offline");
const lost = () => { banner.hidden = false; };
const found = () => { banner.hidden = true; };
addEventListener("offline", lost);
addEventListener("online", found);
document.addEventListener("htmx:sendError", (event) => {
  lost();
  const waiting = event.detail.elt; // what is polled by itself once goes on when the connection is back
  if (waiting.id === "place") setTimeout(() => htmx.ajax("GET", "/my/place", { target: "#place", swap: "outerHTML" }), 2000);
});
document.addEventListener("htmx:afterRequest", (event) => { if (event.detail.successful) found(); });
document.addEventListener("htmx:configRequest", (event) => {
  const token = document.querySelector("input[name=csrf]");
  if (token) event.detail.headers["X-CSRF-Token"] = token.value;
});
const countDown = () => document.querySelectorAll("time[data-counts-down]").forEach((one) => {
  const seconds = Math.max(0, Math.round((new Date(one.dateTime) - Date.now()) / 1000));
  one.textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  if (seconds === 0) location.reload();
});
addEventListener("DOMContentLoaded", () => { if (document.querySelector("time[data-counts-down]")) { countDown(); setInterval(countDown, 1000); } });
const showTimes = () => document.querySelectorAll("time[datetime]:not([data-counts-down])").forEach((one) => {
  one.textContent = new Date(one.dateTime).toLocaleString(document.documentElement.lang, { dateStyle: "medium", timeStyle: "medium" });
});
addEventListener("DOMContentLoaded", showTimes);
document.addEventListener("htmx:afterSwap", showTimes);
document.addEventListener("submit", (event) => {
  if (event.target.dataset.sent) event.preventDefault();
  event.target.dataset.sent = "1";
});
addEventListener("pageshow", () => document.querySelectorAll("form").forEach((form) => { delete form.dataset.sent; }));
