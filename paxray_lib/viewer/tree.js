/** What the open model's masks of a label were compared with, as `LabelSet.checked` says it. */
const CHECKED = {
  films: "Checked against masks that people drew on real X-rays",
  ct: "* Checked on projections of one real CT only",
  none: "** Never checked on anything real",
};

/** The label tree: groups and labels as rows, with search and keyboard. */
class Tree {
  constructor(root, labels, handlers) {
    this.root = root;
    this.labels = labels;
    this.handlers = handlers;
    this.word = "";
    this.presentOnly = false;
    this.open = new Set(labels.groupNames.filter(group => labels.members[group].length <= 12));
    this.rows = [];
    for (const group of labels.groupNames) this.addGroup(group);
    this.empty = element("div", "paxray-none", "No label fits.");
    root.append(this.empty);
    this.active = null;
    root.addEventListener("click", event => this.click(event));
    root.addEventListener("keydown", event => this.key(event));
  }

  addGroup(group) {
    const { labels } = this, members = labels.members[group], single = members.length === 1;
    if (!single) {
      const node = element("div", "paxray-row branch", undefined, { role: "treeitem", "aria-level": 1, "data-testid": `group-${group}` });
      const name = element("span", "paxray-name");
      const arrow = element("span", "paxray-arrow", "", { "data-testid": `expand-${group}` });
      name.append(arrow, element("span", "paxray-box"), element("span", "paxray-text", `${group.replace("_", " ")} (${members.length})`));
      node.append(name, element("b"), element("b"));
      this.add({ node, group, arrow, members });
    }
    const depths = members.map(index => labels.depth[index]), least = Math.min(...depths);
    members.forEach((index, k) => this.addLabel(index, group, single ? 0 : depths[k] - least + 1));
  }

  addLabel(index, group, depth) {
    const { names, texts, checked, colors, ofName } = this.labels, id = this.labels.ids[index];
    const named = ofName.get(names[index]).length > 1 ? sharedName(this.labels, names[index]) : texts[index];
    const title = [named, CHECKED[checked[index]]].filter(Boolean).join("\n");
    const node = element("div", "paxray-row", undefined,
      { role: "treeitem", "aria-level": depth + 1, "data-testid": `label-${id}`, "data-checked": checked[index], title });
    const name = element("span", "paxray-name"), indent = element("span");
    indent.style.cssText = `flex: none; width: ${depth ? 16 + 10 * depth : 16}px`;
    name.append(indent, element("span", "paxray-box"), square(colors[index]), element("span", "paxray-text", texts[index]));
    const only = element("button", "paxray-only", "only", { tabindex: -1, "data-testid": `only-${id}`, title: "Only this (Enter)" });
    const numbers = [element("b"), element("b")];
    node.append(name, ...numbers, only);
    this.add({ node, group, index, only, numbers, depth, title, text: name.lastChild });
  }

  add(row) {
    row.node.id = `paxray-${MODULE}-${Tree.count = (Tree.count ?? 0) + 1}`;
    this.rows.push(row);
    this.root.append(row.node);
  }

  /** The labels that search and filter leave, whether their group is open or not. */
  listed() { return this.rows.filter(row => row.index !== undefined && row.fits).map(row => row.index); }

  filter(present) {
    const { names } = this.labels, words = asSearched(this.word).split(/\s+/).filter(Boolean);
    for (const row of this.rows)
      if (row.index !== undefined) {
        const text = asSearched(`${names[row.index]} ${row.group}`);
        row.fits = words.every(word => text.includes(word)) && (!this.presentOnly || present[row.index]);
        row.node.classList.toggle("absent", !present[row.index]);
      }
    const fitting = new Set(this.rows.filter(row => row.fits && row.index !== undefined).map(row => row.group));
    for (const row of this.rows) {
      const open = words.length > 0 || this.open.has(row.group);
      if (row.arrow) {
        row.fits = fitting.has(row.group);
        row.arrow.textContent = open ? "▾" : "▸";
        row.node.setAttribute("aria-expanded", open);
      }
      row.shown = row.fits && (open || row.arrow !== undefined || this.labels.members[row.group].length === 1);
      row.node.hidden = !row.shown;
    }
    this.empty.hidden = fitting.size > 0;
    if (!this.active?.shown) this.activate(this.rows.find(row => row.shown));
  }

  mark(chosen) {
    for (const row of this.rows) {
      let state = "false";
      if (row.index !== undefined) state = String(chosen.has(row.index));
      else {
        const count = row.members.filter(index => chosen.has(index)).length;
        state = count === row.members.length ? "true" : count ? "mixed" : "false";
      }
      if (row.state !== state) row.node.setAttribute("aria-checked", row.state = state);
    }
  }

  activate(row, scroll = false) {
    this.active?.node.classList.remove("active");
    this.active = row ?? null;
    row?.node.classList.add("active");
    if (row) this.root.setAttribute("aria-activedescendant", row.node.id);
    if (row && scroll) this.reveal(row.node);
  }

  reveal(node) { // scrollIntoView would scroll the notebook too
    const top = node.offsetTop - this.root.offsetTop;
    if (top < this.root.scrollTop) this.root.scrollTop = top;
    else if (top + node.offsetHeight > this.root.scrollTop + this.root.clientHeight)
      this.root.scrollTop = top + node.offsetHeight - this.root.clientHeight;
  }

  /** Open the group of a label and bring its row into sight. */
  show(index) {
    const row = this.rows.find(other => other.index === index);
    if (!row.fits) return;
    this.open.add(row.group);
    this.handlers.refilter();
    this.activate(row, true);
  }

  expand(row, open) {
    if (open) this.open.add(row.group); else this.open.delete(row.group);
    this.handlers.refilter();
  }

  use(row) {
    if (row.index !== undefined) this.handlers.toggle([row.index], row.state !== "true");
    else this.handlers.toggle(row.members.filter(index => this.fits(index)), row.state !== "true");
  }

  fits(index) { return this.rows.find(row => row.index === index).fits; }

  only(row) { this.handlers.only(row.index === undefined ? row.members : [row.index]); }

  click(event) {
    const row = this.rows.find(other => other.node.contains(event.target));
    if (!row) return;
    this.activate(row);
    if (row.arrow?.contains(event.target)) this.expand(row, !this.open.has(row.group));
    else if (row.only?.contains(event.target)) this.only(row);
    else this.use(row);
  }

  key(event) {
    const shown = this.rows.filter(row => row.shown), place = shown.indexOf(this.active), row = this.active;
    const go = to => this.activate(shown[Math.max(0, Math.min(shown.length - 1, to))], true);
    const page = Math.max(1, Math.floor(this.root.clientHeight / 21) - 1);
    const actions = {
      ArrowDown: () => go(place + 1), ArrowUp: () => go(place - 1), Home: () => go(0), End: () => go(shown.length - 1),
      PageDown: () => go(place + page), PageUp: () => go(place - page), " ": () => this.use(row), Enter: () => this.only(row),
      ArrowRight: () => row.arrow && !this.open.has(row.group) ? this.expand(row, true) : go(place + 1),
      ArrowLeft: () => row.arrow ? this.expand(row, false) : go(shown.findIndex(other => other.group === row.group)),
    };
    if (!row || !(event.key in actions) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    actions[event.key]();
  }

  /** Say of labels why they are not compared: a text for each, "" for those that are. */
  note(texts) {
    for (const row of this.rows) {
      const note = texts[row.index] ?? "";
      if (row.index === undefined || row.text.dataset.note === note) continue;
      row.text.dataset.note = note;
      row.node.classList.toggle("unknown", note !== "");
      row.node.title = [row.title, note].filter(Boolean).join("\n");
    }
  }

  /** Write the two number columns: scores with a prediction, else the area. */
  numbers(texts, kind) {
    for (const row of this.rows)
      if (row.index !== undefined) {
        const found = texts[row.index], id = this.labels.ids[row.index];
        row.numbers.forEach((cell, k) => {
          if (cell.textContent !== found[k]) cell.textContent = found[k];
          cell.dataset.testid = `${kind[k]}-${id}`;
        });
      }
  }
}
