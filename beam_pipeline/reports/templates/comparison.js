(() => {
  const data = json("data");

  function drawWords() {
    const root = document.getElementById("word-table");
    if (!root) return;
    const number = (key, title, note, cell) => ({key, title, note, number: true, value: (row) => row[key], cell});
    const difference = (row) => (row.q > data.sure ? "" : row.z > 0 ? "more in A" : "more in B");
    dataTable(root, {
      caption: "Words of both collections",
      columns: [
        {key: "word", title: "Word", heads: true, value: (row) => row.word, cell: (row) => row.word},
        number("share_a", "Share in A", "share of the pictures in A that the word fits", (row) => percent(row.share_a, 1)),
        number("share_b", "Share in B", "share of the pictures in B that the word fits", (row) => percent(row.share_b, 1)),
        number("log_odds", "Log-odds", "above 0: A uses the word more", (row) => signed(row.log_odds, 2)),
        {key: "interval", title: "95 % interval", number: true,
          cell: (row) => (row.low === null ? "" : `${signed(row.low, 2)} to ${signed(row.high, 2)}`)},
        number("z", "z", "log-odds divided by their standard deviation", (row) => signed(row.z, 2)),
        number("q", "q", "smallest false discovery rate at which the difference is significant", (row) => (row.q < 0.0001 ? "< 0.0001" : row.q.toFixed(4))),
        {key: "difference", title: "Significant", value: difference, cell: difference},
      ],
      rows: data.words, text: (row) => `${row.word} ${row.lemma}`, noun: "word", searchLabel: "Search words", ordered: "z",
    });
  }

  function drawChart() {
    const root = document.getElementById("chart");
    if (!root) return;
    const known = data.words.filter((row) => row.low !== null);
    const first = known.filter((row) => row.z > 0).slice(0, data.each_side);
    const second = known.filter((row) => row.z < 0).slice(-data.each_side);
    return chart(root, data.chart)([...first, ...second].map((row) => ({
      ...row, side: row.z > 0 ? "A" : "B", share_a: percent(row.share_a, 1), share_b: percent(row.share_b, 1),
    })));
  }

  drawWords();
  requestAnimationFrame(() => setTimeout(async () => {
    await drawChart();
    document.documentElement.dataset.drawn = "yes";
  }));
})();
