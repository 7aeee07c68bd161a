"""The template of the pages on which a person decides: HTML, style and script in one file, nothing loaded.

A decision is the number of a choice, kept by the photo's file name, so that two cards of one photo agree.
"""

TEMPLATE = r"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
{{ mark|safe }}
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ page.title }}</title>
<style>
:root { --ink: #1c2530; --soft: #5a6876; --line: #d9e0e6; --paper: #ffffff; --ground: #f3f5f7; --accent: #b4500f; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, "Segoe UI", sans-serif; }
header { background: var(--ink); color: #fff; padding: 1.5rem 1rem; border-bottom: 6px solid var(--accent); }
header > *, main, footer, #bar > div { max-width: 1400px; margin: 0 auto; }
h1 { font-size: 1.7rem; line-height: 1.2; }
header p { color: #c3ced8; }
main { padding: 1rem; }
h2 { font-size: 1.3rem; margin: 1.5rem 0 .3rem; }
p { margin: .3rem auto; }
#bar { position: sticky; top: 0; z-index: 2; background: var(--paper); border-bottom: 1px solid var(--line); padding: .5rem 1rem; }
#bar > div { display: flex; flex-wrap: wrap; gap: .6rem 1rem; align-items: center; }
#bar input[type=text] { width: 10rem; padding: .25rem .4rem; }
#count { font-weight: 600; }
.warning { border-left: 4px solid var(--accent); background: #fdf3ec; padding: .5rem .8rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(320px, 1fr)); gap: 1rem; }
.cards.wide { grid-template-columns: 1fr; }
.card { background: var(--paper); border: 2px solid var(--line); border-radius: 8px; padding: .7rem; scroll-margin: 5rem; }
.card.here { border-color: var(--accent); box-shadow: 0 0 0 2px var(--accent); }
.card.decided { background: #eef4ee; }
.card.large { grid-column: 1 / -1; }
body.left .card.decided { display: none; }
.card h3 { margin: 0; font-size: 1rem; overflow-wrap: anywhere; }
.card p { color: var(--soft); font-size: .9rem; }
img { display: block; max-width: 100%; max-height: 320px; margin: .4rem 0; border-radius: 4px; cursor: zoom-in; }
.wide img, .large img { width: 100%; max-height: none; height: auto; }
.choices { display: flex; flex-wrap: wrap; gap: .4rem; }
button, .file { font: inherit; font-size: .9rem; padding: .25rem .7rem; border: 1px solid var(--soft); border-radius: 5px; background: #fff; color: var(--ink); cursor: pointer; }
button.suggested { border: 2px solid var(--accent); font-weight: 600; }
button.on { background: var(--ink); color: #fff; }
.file input { display: none; }
kbd { font-size: .8em; border: 1px solid var(--line); border-radius: 3px; padding: 0 .3em; background: var(--ground); color: var(--soft); }
footer { color: var(--soft); font-size: .85rem; padding: 1rem; }
</style>
</head>
<body>
<header><h1>{{ page.title }}</h1><p>{{ page.subtitle }}</p></header>
<div id="bar"><div>
<span id="count"></span>
<button id="download">Download {{ page.download }}</button>
<label class="file">Load decisions<input type="file" id="load" accept=".json"></label>
<label>Your name <input type="text" id="by"></label>
<label><input type="checkbox" id="left"> hide what is decided</label>
<span>{% for choice in page.choices if choice.key %}<kbd>{{ choice.key }}</kbd> {{ choice.text }} {% endfor %}<kbd>u</kbd> undo <kbd>&larr;</kbd> <kbd>&rarr;</kbd> move <kbd>z</kbd> enlarge</span>
</div></div>
<main>
<p>Decisions stay in this browser until you download them; then run <code>{{ page.then }}</code></p>
<p class="warning" id="trouble" hidden></p>
<noscript><p class="warning">This page needs JavaScript for its buttons.</p></noscript>
{% for part in page.parts %}<section>
<h2>{{ part.title }}</h2>
<p>{{ part.text }}</p>
<div class="cards{{ ' wide' if page.wide }}">
{% for card in part.cards %}<article class="card" data-record='{{ card.record|tojson }}'>
<h3>{{ card.title }}</h3>
<img alt="{{ card.title }}" src="{{ card.picture.data }}">
{% for line in card.lines %}<p>{{ line }}</p>
{% endfor %}<div class="choices">{% for number in card.choices %}<button data-choice="{{ number }}"{% if number == card.suggested %} class="suggested"{% endif %}>{{ page.choices[number].text }}</button>{% endfor %}</div>
</article>
{% endfor %}</div>
</section>
{% endfor %}</main>
<footer>Made by weldgen {{ version }}.</footer>
<script type="application/json" id="page">{{ settings|tojson }}</script>
<script>
(() => {
  "use strict";
  const page = JSON.parse(document.getElementById("page").textContent);
  const byId = (id) => document.getElementById(id);
  const store = "weldgen-review:" + page.key;
  const cards = [...document.querySelectorAll(".card")].map((element) => (
    { element, record: JSON.parse(element.dataset.record), buttons: [...element.querySelectorAll("[data-choice]")] }
  ));
  const files = new Set(cards.map((card) => card.record.file));
  let made = {};          // file -> number of the choice
  let here = 0;
  let unsaved = false;    // decisions that neither the browser's storage nor a download holds

  const tell = (text) => { byId("trouble").textContent = text; byId("trouble").hidden = false; };

  const keep = () => {
    try {
      localStorage.setItem(store, JSON.stringify({ made, by: byId("by").value }));
    } catch (error) {
      unsaved = true;
      tell("This browser does not keep decisions for this page: download them before you close it.");
    }
  };

  const show = () => {
    for (const { element, record, buttons } of cards) {
      element.classList.toggle("decided", record.file in made);
      for (const button of buttons) button.classList.toggle("on", Number(button.dataset.choice) === made[record.file]);
    }
    byId("count").textContent = Object.keys(made).length + " of " + files.size + " decided";
  };

  const go = (number, scroll) => {
    if (!cards.length) return;
    cards[here].element.classList.remove("here");
    here = Math.max(0, Math.min(cards.length - 1, number));
    cards[here].element.classList.add("here");
    if (scroll && cards[here].element.scrollIntoView) cards[here].element.scrollIntoView({ block: "nearest" });
  };

  // The next card in a direction that is on the screen at all.
  const step = (direction) => {
    let next = here + direction;
    const hidden = (card) => document.body.classList.contains("left") && card.element.classList.contains("decided");
    while (next >= 0 && next < cards.length && hidden(cards[next])) next += direction;
    if (next >= 0 && next < cards.length) go(next, true);
  };

  const decide = (number, choice) => {
    const file = cards[number].record.file;
    if (choice === undefined || made[file] === choice) delete made[file];
    else made[file] = choice;
    keep();
    show();
    return file in made;
  };

  const download = () => {
    const records = new Map(cards.map((card) => [card.record.file, card.record]));
    const decisions = Object.entries(made).map(([file, choice]) => (
      { ...records.get(file), ...page.choices[choice].record }
    ));
    const saved = {
      weldgen: page.weldgen, page: page.page, key: page.key, dataset: page.dataset, by: byId("by").value.trim(),
      saved: new Date().toISOString(), decisions,
    };
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(saved, null, 1) + "\n"], { type: "application/json" }));
    link.download = page.download;
    link.click();
    unsaved = false;
  };

  const load = async (file) => {
    let saved;
    try {
      saved = JSON.parse(await file.text());
    } catch (error) {
      return tell(file.name + " is no file of decisions.");
    }
    if (saved.page !== page.page || !Array.isArray(saved.decisions)) return tell(file.name + " belongs to another kind of page.");
    const same = (choice, entry) => Object.entries(choice.record).every(([name, value]) => entry[name] === value);
    let unknown = 0;
    for (const entry of saved.decisions) {
      const choice = page.choices.findIndex((candidate) => same(candidate, entry));
      if (choice >= 0 && files.has(entry.file)) made[entry.file] = choice;
      else unknown += 1;
    }
    if (saved.by) byId("by").value = saved.by;
    if (unknown) tell(unknown + " decisions in " + file.name + " are about photos that this page does not show; they are left out.");
    keep();
    show();
  };

  cards.forEach((card, number) => {
    card.element.addEventListener("click", (event) => {
      go(number, false);
      if (event.target.dataset.choice !== undefined) decide(number, Number(event.target.dataset.choice));
      else if (event.target.tagName === "IMG") card.element.classList.toggle("large");
    });
  });
  byId("download").addEventListener("click", download);
  byId("load").addEventListener("change", (event) => { if (event.target.files[0]) load(event.target.files[0]); event.target.value = ""; });
  byId("by").addEventListener("change", keep);
  byId("left").addEventListener("change", (event) => document.body.classList.toggle("left", event.target.checked));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.type === "text" || !cards.length) return;
    const choice = page.choices.findIndex((candidate) => candidate.key === event.key);
    const offered = cards[here].buttons.some((button) => Number(button.dataset.choice) === choice);
    if (event.key === "ArrowRight") step(1);
    else if (event.key === "ArrowLeft") step(-1);
    else if (event.key === "u") decide(here);
    else if (event.key === "z") cards[here].element.classList.toggle("large");
    else if (choice >= 0 && offered) { if (decide(here, choice)) step(1); }
    else return;
    event.preventDefault();
  });
  window.addEventListener("beforeunload", (event) => { if (unsaved) event.preventDefault(); });

  try {
    const kept = JSON.parse(localStorage.getItem(store) || "{}");
    const valid = ([file, choice]) => files.has(file) && choice in page.choices;
    made = Object.fromEntries(Object.entries(kept.made || {}).filter(valid));
    byId("by").value = kept.by || "";
  } catch (error) {
    tell("This browser does not keep decisions for this page: download them before you close it.");
  }
  show();
  go(0, false);
})();
</script>
</body>
</html>
"""  # noqa: E501 - HTML
