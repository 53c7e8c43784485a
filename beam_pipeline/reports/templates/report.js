(() => {
  const data = json("data");
  const fractions = data.words.some((row) => !Number.isInteger(row.estimate)); // estimates, not counts
  const pictures = (number) => number.toLocaleString("en", fractions && number < 100 ? {minimumFractionDigits: 1, maximumFractionDigits: 1} : {maximumFractionDigits: 0});
  const byWord = new Map(data.words.map((row) => [row.word, row]));

  // Thumbnails may be most of the page, so they are parsed when the first one is needed.
  let stored = null;
  function thumbnail(picture) {
    if (!stored) {
      stored = json("thumbnails");
      stored.available = new Set(stored.names || []);
    }
    if (stored.embedded) return stored.embedded[picture.id] && `data:image/jpeg;base64,${stored.embedded[picture.id]}`;
    return stored.available.has(picture.id) && `${encodeURIComponent(stored.beside)}/${picture.id}.jpg`;
  }

  /** A picture with its caption, and a meter: text, and a share from 0 to 1. */
  function card(picture, measured) {
    const source = thumbnail(picture);
    const frame = source
      ? element("img", {src: source, alt: "", loading: "lazy", decoding: "async"})
      : element("span", {class: "missing"}, "no thumbnail");
    const file = picture.name.split("/").pop(); // the title has its folders, and the search finds them
    const name = picture.link
      ? element("a", {href: picture.link, target: "_blank", rel: "noopener", title: picture.name}, file)
      : element("span", {title: picture.name}, file);
    const about = element("figcaption", {}, element("p", {class: "caption"}, picture.caption || "(empty caption)"));
    if (measured) {
      const meter = element("span", {class: "meter", "aria-hidden": "true"}, element("span"));
      meter.firstChild.style.width = `${100 * measured.share}%`;
      about.append(element("p", {class: "known"}, meter, measured.text));
    }
    for (const flag of picture.flags) about.append(element("p", {class: "flag"}, data.flags[flag] || flag));
    about.append(element("p", {class: "name"}, name));
    return element("li", {class: "card"}, element("figure", {}, element("div", {class: "frame"}, frame), about));
  }

  // Words.

  function chooseWord(word) {
    const choice = document.getElementById("word-choice");
    if (!choice || !data.examples[word]) return;
    choice.value = word;
    showWord(word);
    document.getElementById("examples").scrollIntoView();
    choice.focus({preventScroll: true});
  }

  function wordButton(word) {
    if (!data.examples[word]) return word;
    return element("button", {type: "button", class: "word", title: `Pictures of “${word}”`, on: {click: () => chooseWord(word)}}, word);
  }

  function drawCloud() {
    const root = document.getElementById("cloud");
    if (!root) return;
    const rows = [...data.words].sort((a, b) => b.estimate - a.estimate).slice(0, 60).filter((row) => row.estimate > 0);
    if (!rows.length) return;
    const most = rows[0].estimate;
    rows.sort((a, b) => a.word.localeCompare(b.word));
    root.append(...rows.map((row) => {
      const weight = (row.estimate / most) ** 0.75;
      const item = element("li", {}, wordButton(row.word), element("span", {class: "hidden"}, `, ${pictures(row.estimate)} ${row.estimate === 1 ? "picture" : "pictures"}`));
      item.style.fontSize = `${(0.95 + 2.45 * weight).toFixed(2)}em`;
      item.style.setProperty("--weight", `${Math.round(100 * weight)}%`);
      return item;
    }));
  }

  function drawChart() {
    const root = document.getElementById("chart");
    if (!root) return;
    const draw = chart(root, data.chart, chooseWord);
    const show = (order) => draw([...data.words].sort(byValue((row) => row[order], -1)).slice(0, data.bars).map((row) => ({
      word: row.word,
      share: row.estimate / data.documents,
      low: row.low / data.documents,
      high: row.high / data.documents,
      pictures: pictures(row.estimate),
      interval: `${whole(row.low)} to ${whole(row.high)}`,
      images: whole(row.images),
    })));
    for (const choice of document.querySelectorAll("input[name=order]")) {
      choice.addEventListener("change", () => show(choice.value));
    }
    return show("importance");
  }

  function drawWords() {
    const root = document.getElementById("word-table");
    if (!root) return;
    const number = (key, title, note, cell) => ({key, title, note, number: true, value: (row) => row[key], cell});
    const compared = data.words.some((row) => row.z !== null);
    const columns = [
      {key: "word", title: "Word", heads: true, value: (row) => row.word, cell: (row) => wordButton(row.word)},
      number("importance", "Importance", "share of the pictures that the word fits, times how rare it is in other captions", (row) => row.importance.toFixed(3)),
      number("estimate", "Pictures", "pictures that the word fits", (row) => pictures(row.estimate)),
      {key: "interval", title: "95 % interval", number: true, cell: (row) => `${whole(row.low)}–${whole(row.high)}`},
      {key: "share", title: "Share", number: true, value: (row) => row.estimate, cell: (row) => percent(row.estimate / data.documents, 1)},
      number("images", "In captions", "pictures whose caption contains the word", (row) => whole(row.images)),
    ];
    if (compared) columns.push(number("z", "More than usual (z)", "how certainly the word is more frequent here than in the captions that it is compared with",
      (row) => (row.z === null ? "" : signed(row.z, 1))));
    dataTable(root, {
      caption: "Words of the collection", columns, rows: data.words, text: (row) => `${row.word} ${row.lemma}`, noun: "word",
      searchLabel: "Search words", ordered: "importance",
    });
  }

  // Examples of a word.

  function showWord(word) {
    const row = byWord.get(word);
    const found = data.examples[word];
    const strip = (title, examples, empty) => {
      const cards = examples.map(([number, presence]) => card(data.pictures[number],
        presence === null ? null : {share: presence, text: `${percent(presence)} likely`}));
      return [element("h3", {}, title), cards.length ? element("ul", {class: "cards small"}, ...cards) : element("p", {class: "empty"}, empty)];
    };
    const facts = row && data.documents
      ? [element("p", {class: "facts"}, element("strong", {}, word), ` fits ${pictures(row.estimate)} of ${counted(data.documents, "picture")} ` +
          `(95 % interval ${whole(row.low)} to ${whole(row.high)}). ` +
          `${counted(row.images, "caption")} ${row.images === 1 ? "contains" : "contain"} it.`)]
      : [];
    document.getElementById("word-panel").replaceChildren(...facts,
      ...strip("Pictures that probably show it", found.shows, "None are known."),
      ...strip("Captions that contain it although the picture probably does not show it", found.unlikely, "None are known."));
  }

  function drawExamples() {
    const choice = document.getElementById("word-choice");
    if (!choice) return;
    const words = Object.keys(data.examples);
    choice.append(...words.map((word) => element("option", {value: word}, word)));
    choice.addEventListener("change", () => showWord(choice.value));
    showWord(words[0]);
  }

  // Captions.

  function drawGallery() {
    const root = document.getElementById("gallery");
    if (!root) return;
    const rows = data.pictures.slice(0, data.sampled);
    const cards = element("ul", {class: "cards"});
    const empty = element("p", {class: "empty", hidden: true}, "No caption or name matches.");
    const list = paged({
      rows, size: 24, noun: "picture", text: (picture) => `${picture.caption}\n${picture.name}`,
      shown(page) {
        cards.replaceChildren(...page.map((picture) => card(picture,
          {share: picture.confidence, text: `${percent(picture.confidence)} confidence`})));
        empty.hidden = page.length > 0;
      },
    });
    const orders = {
      name: null,
      most: byValue((picture) => picture.confidence, -1),
      least: byValue((picture) => picture.confidence, 1),
    };
    const controls = element("div", {class: "controls"},
      searchField("Search captions and names", list.search),
      choiceField("Sort", [["name", "by name"], ["most", "most confident first"], ["least", "least confident first"]],
        (order) => list.order(orders[order])));
    const flagged = rows.filter((picture) => picture.flags.length).length;
    if (flagged) {
      controls.append(choiceField("Show", [["all", "all captions"], ["flagged", `flagged captions (${whole(flagged)})`]],
        (what) => list.filter(what === "flagged" ? (picture) => picture.flags.length > 0 : () => true)));
    }
    controls.append(list.status);
    root.append(controls, cards, empty, list.pager);
    list.refresh();
  }

  function drawRejected() {
    const root = document.getElementById("rejected-table");
    if (!root) return;
    const text = (key, title) => ({key, title, heads: key === "name", value: (row) => row[key], cell: (row) => row[key]});
    dataTable(root, {
      caption: "Rejected files", columns: [text("name", "File"), text("reason", "Reason")], rows: data.rejected,
      text: (row) => `${row.name} ${row.reason}`, noun: "file", searchLabel: "Search rejected files", ordered: "name", direction: 1,
    });
  }

  drawWords();
  drawCloud();
  drawRejected();
  // The top of the page comes first; pictures and the chart follow when the browser has shown it.
  requestAnimationFrame(() => setTimeout(async () => {
    drawExamples();
    drawGallery();
    await drawChart();
    document.documentElement.dataset.drawn = "yes";
  }));
})();
