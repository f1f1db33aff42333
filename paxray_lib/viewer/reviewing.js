// A review by keyboard: a decision on each image, written by the kernel.

const reviewHelp = verdicts => ({ "1 2 3": `review: ${verdicts.join(", ")}, and go on to the next image without a decision`, w: "write a note", j: "the next image without a decision" });

class Reviewing {
  constructor(viewer) {
    const { model, root, stop } = viewer, { decisions, blind, verdicts } = model.get("_review"), { signal } = stop;
    Object.assign(this, { viewer, model, drafts: new Map(), waiting: new Map(), decisions: new Map(), troubles: new Map() });
    for (const [position, decision] of Object.entries(decisions)) this.decisions.set(Number(position), decision);
    this.keys = Object.fromEntries(verdicts.map((verdict, k) => [verdict, String(k + 1)]));
    this.isPair = model.get("names").length > 0; // which of two is preferred
    if (blind && !this.isPair) viewer.find("mode-target").textContent = "Masks";
    this.build();
    const help = viewer.helpTexts.bind(viewer);
    viewer.helpTexts = () => ({ ...help(), ...reviewHelp(verdicts) });
    root.addEventListener("keydown", event => this.key(event), { signal, capture: true });
    const moved = () => this.update(), heard = ({ decided }) => { if (decided) this.written(decided); };
    for (const [name, handler] of [["change:position", moved], ["msg:custom", heard]]) {
      model.on(name, handler);
      signal.addEventListener("abort", () => model.off(name, handler));
    }
    this.update();
  }

  build() {
    const bar = element("div", "paxray-bar paxray-review", undefined, { "data-testid": "review", role: "group", "aria-label": "Review" });
    const buttons = element("span", "paxray-modes"), note = element("input", "", undefined, { type: "text", "data-testid": "note", placeholder: "note (w)", "aria-label": "Note", maxlength: 10000 });
    for (const [verdict, key] of Object.entries(this.keys)) {
      const title = this.isPair ? `the better masks of this image: ${verdict} (${key})` : `${verdict} the masks of this image (${key})`;
      const button = element("button", "", `${verdict[0].toUpperCase()}${verdict.slice(1)} (${key})`, { "data-testid": `review-${verdict}`, title });
      button.addEventListener("click", () => this.decide(verdict));
      buttons.append(button);
    }
    const next = element("button", "", "Next open", { "data-testid": "next-open", title: "The next image without a decision (j)" });
    next.addEventListener("click", () => this.next());
    note.addEventListener("input", () => this.drafts.set(this.position, note.value));
    bar.append(element("b", "", this.isPair ? "Better" : "Review"), buttons, note, next, element("span", "", "", { "data-testid": "progress", "aria-live": "polite" }),
      element("span", "paxray-trouble", "", { "data-testid": "review-trouble", role: "alert" }));
    this.viewer.find("browse").after(bar);
  }

  get position() { return this.model.get("position"); }

  /** Whether the image of this position is what is seen, or it cannot be shown. */
  get isShown() {
    const message = this.viewer.store.scenes.get(this.position);
    return Boolean(message) && (message.error || this.viewer.scene?.message === message);
  }

  decide(verdict, stays = false) {
    if (!this.isShown) return; // nobody has seen it yet
    const { position } = this, note = this.viewer.find("note").value;
    this.decisions.set(position, [verdict, note]);
    this.drafts.delete(position);
    this.waiting.set(position, (this.waiting.get(position) ?? 0) + 1);
    this.model.send({ decide: [position, verdict, note] });
    if (!stays) this.next();
    this.update();
  }

  /** What stands in the review now, and why, if not what was decided here. */
  written({ position, decision, error }) {
    const left = (this.waiting.get(position) ?? 1) - 1;
    if (left) this.waiting.set(position, left); else this.waiting.delete(position);
    if (decision && !left) this.decisions.set(position, decision);
    if (!decision) this.decisions.delete(position);
    if (error) this.troubles.set(position, error); else this.troubles.delete(position);
    this.update();
  }

  /** Go on to the next image without a decision, in the order of the list. */
  next() {
    const order = this.viewer.order(), place = order.indexOf(this.position);
    const next = [...order.slice(place + 1), ...order.slice(0, place + 1)].find(position => !this.decisions.has(position));
    if (next !== undefined) this.viewer.set("position", next);
    else this.viewer.say("There is a decision on every image of this list.");
  }

  update() {
    const [verdict, text] = this.decisions.get(this.position) ?? [null, ""], { size } = this.waiting;
    for (const name of Object.keys(this.keys)) this.viewer.find(`review-${name}`).setAttribute("aria-pressed", name === verdict);
    this.viewer.find("note").value = this.drafts.get(this.position) ?? text;
    this.viewer.find("progress").textContent = `${this.decisions.size} of ${this.viewer.items.names.length}${size ? `, ${size} not yet written` : ""}`;
    this.viewer.find("review-trouble").textContent = [...this.troubles.values()].join("; ");
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const note = this.viewer.find("note"), verdict = this.decisions.get(this.position)?.[0];
    if (event.target === note) {
      event.stopPropagation(); // letters are no commands here
      if (event.key !== "Enter" && event.key !== "Escape") return;
      event.preventDefault();
      if (event.key === "Escape") this.drafts.delete(this.position);
      else if (verdict) this.decide(verdict, true);
      this.update();
      this.viewer.find("stage").focus();
      return;
    }
    if (event.target.matches("input[type=search], select")) return;
    const action = Object.entries(this.keys).find(([, key]) => key === event.key)?.[0];
    if (action) this.decide(action);
    else if (event.key === "w") note.focus();
    else if (event.key === "j") this.next();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
