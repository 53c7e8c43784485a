"use strict";
// Shared by both pages. Text from the data enters the page only as text nodes and properties, never as markup.

/** Makes an element: properties, then children; a string among the children becomes text. */
function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "class") made.className = value;
    else if (key === "on") for (const [event, listener] of Object.entries(value)) made.addEventListener(event, listener);
    else if (key in made && key !== "list" && key !== "role") made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function json(id) {
  return JSON.parse(document.getElementById(id).textContent);
}

function whole(number) {
  return number.toLocaleString("en", {maximumFractionDigits: 0});
}

/** 0.0714 -> "7 %", or with more digits */
function percent(share, digits = 0) {
  return `${(100 * share).toLocaleString("en", {minimumFractionDigits: digits, maximumFractionDigits: digits})} %`;
}

/** A number with a true minus sign; never -0. */
function signed(number, digits) {
  const text = number.toFixed(digits);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
}

/** 1, "word" -> "1 word"; 20, "word" -> "20 words" */
function counted(number, noun) {
  return `${whole(number)} ${noun}${number === 1 ? "" : "s"}`;
}

let ids = 0;

/** A search field with its label; calls back at every change with the text, in lower case. */
function searchField(label, search) {
  const id = `field-${++ids}`;
  const field = element("input", {id, type: "search", autocomplete: "off", spellcheck: false});
  field.addEventListener("input", () => search(field.value.trim().toLowerCase()));
  return element("p", {class: "field"}, element("label", {htmlFor: id}, label), field);
}

/** A choice with its label; options are [value, text]. */
function choiceField(label, options, choose) {
  const id = `field-${++ids}`;
  const field = element("select", {id}, ...options.map(([value, text]) => element("option", {value}, text)));
  field.addEventListener("change", () => choose(field.value));
  return element("p", {class: "field"}, element("label", {htmlFor: id}, label), field);
}

/** Buttons that turn pages of `noun`s: `show(page)` is called when one is pressed; call update(page, pages) on changes. */
function pager(noun, show) {
  let at = 0;
  const place = element("span", {class: "place"});
  const back = element("button", {type: "button", on: {click: () => show(at - 1)}}, "← Previous");
  const on = element("button", {type: "button", on: {click: () => show(at + 1)}}, "Next →");
  const root = element("nav", {class: "pager", "aria-label": `Pages of ${noun}s`}, back, place, on);
  return {
    root,
    update(page, pages) {
      at = page;
      root.hidden = pages < 2;
      place.textContent = `page ${whole(page + 1)} of ${whole(pages)}`;
      // A button that is disabled loses the focus; one that says so keeps it.
      back.setAttribute("aria-disabled", String(page === 0));
      on.setAttribute("aria-disabled", String(page >= pages - 1));
    },
  };
}

/** Rows that can be searched, sorted, filtered and shown a page at a time; each is a `noun`. shown(rows) draws a page. */
function paged({rows, text, size, noun, shown}) {
  const texts = rows.map((row) => text(row).toLowerCase());
  let kept = rows.map((_, number) => number);
  let compare = null;
  let wanted = "";
  let keep = () => true;
  let page = 0;
  const status = element("p", {class: "status", role: "status"});
  const pages = pager(noun, (next) => {
    if (next < 0 || next * size >= kept.length) return;
    page = next;
    draw();
  });
  function draw() {
    const begin = page * size;
    const total = kept.length;
    shown(kept.slice(begin, begin + size).map((number) => rows[number]));
    const end = Math.min(begin + size, total);
    const range = total > size ? `${whole(begin + 1)}–${whole(end)} of ${counted(total, noun)}` : counted(total, noun);
    status.textContent = (total ? range : `no ${noun}s`) + (total < rows.length ? " found" : "");
    pages.update(page, Math.max(1, Math.ceil(total / size)));
  }
  function refresh() {
    kept = [];
    for (let number = 0; number < rows.length; number++) {
      if (texts[number].includes(wanted) && keep(rows[number])) kept.push(number);
    }
    if (compare) kept.sort((a, b) => compare(rows[a], rows[b]) || a - b);
    page = 0;
    draw();
  }
  return {
    status,
    pager: pages.root,
    search(words) { wanted = words; refresh(); },
    order(by) { compare = by; refresh(); },
    filter(by) { keep = by; refresh(); },
    refresh,
  };
}

/** Compares two values; null comes last in either direction. */
function byValue(value, direction) {
  return (a, b) => {
    const [first, second] = [value(a), value(b)];
    if (first === null || second === null) return (first === null) - (second === null);
    const order = typeof first === "string" ? first.localeCompare(second) : first - second;
    return direction * order;
  };
}

/** A table in `root` with a search field, headings that sort it, and pages. */
function dataTable(root, {caption, columns, rows, text, noun, searchLabel, size = 20, ordered = null, direction = -1}) {
  const body = element("tbody");
  const list = paged({
    rows, text, size, noun,
    shown(page) {
      body.replaceChildren(...page.map((row) => element("tr", {}, ...columns.map((column) => {
        const cell = element(column.heads ? "th" : "td", column.number ? {class: "number"} : {});
        if (column.heads) cell.scope = "row";
        cell.append(column.cell(row));
        return cell;
      }))));
    },
  });
  const headings = columns.map((column) => {
    const heading = element("th", {scope: "col", class: column.number ? "number" : ""});
    if (!column.value) {
      heading.append(column.title);
      return heading;
    }
    heading.append(element("button", {type: "button", ...(column.note && {title: column.note}), on: {click: () => {
      // The first click sorts numbers from the largest, texts from A.
      const first = column.number ? -1 : 1;
      direction = ordered === column.key ? -direction : first;
      ordered = column.key;
      sort();
    }}}, column.title));
    return heading;
  });
  function sort() {
    columns.forEach((column, number) => {
      if (column.key === ordered) headings[number].setAttribute("aria-sort", direction < 0 ? "descending" : "ascending");
      else headings[number].removeAttribute("aria-sort");
    });
    const column = columns.find((one) => one.key === ordered);
    list.order(column ? byValue(column.value, direction) : null);
  }
  const table = element("table", {}, element("caption", {class: "hidden"}, caption),
    element("thead", {}, element("tr", {}, ...headings)), body);
  root.append(
    element("div", {class: "controls"}, searchField(searchLabel, list.search), list.status),
    element("div", {class: "scroll", tabIndex: 0, role: "region", "aria-label": caption}, table),
    list.pager,
  );
  sort();
}

/** Current colours of the page, light or dark. */
function colours() {
  const style = getComputedStyle(document.documentElement);
  return (name) => style.getPropertyValue(`--${name}`).trim();
}

/** A Vega-Lite chart in `root`; returns a function that draws it with the rows it is given. */
function chart(root, specification, choose) {
  let rows = [];
  let view = null;
  async function draw() {
    const colour = colours();
    const font = getComputedStyle(document.body).fontFamily;
    const made = await vegaEmbed(root, {...specification, data: {values: rows}, height: 23 * rows.length}, {
      mode: "vega-lite",
      renderer: "svg",
      actions: false,
      ast: true, // interpreted, since the policy of the page forbids eval
      config: {
        background: null,
        font,
        view: {stroke: null},
        axis: {
          aria: false,
          labelColor: colour("ink"), titleColor: colour("quiet"), gridColor: colour("line"), domainColor: colour("line"),
          tickColor: colour("line"), labelFontSize: 13, titleFontSize: 12, titleFontWeight: "normal", titlePadding: 10,
        },
        bar: {color: colour("bar")},
        range: {category: [colour("accent"), colour("warm")]},
        rule: {color: colour("ink"), strokeWidth: 1.5},
      },
    });
    if (view) view.finalize();
    view = made.view;
    if (choose) view.addEventListener("click", (_, item) => item && item.datum && item.datum.word && choose(item.datum.word));
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  return (values) => {
    rows = values;
    return draw();
  };
}
