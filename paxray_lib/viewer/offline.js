// How a viewer starts: as an anywidget, or in a page without a kernel.

// Views get different objects for one model; its label table is the same object for all of them.
const stores = new WeakMap();

function initialize({ model }) { stores.set(model.get("_labels"), new Store(model)); }

const kindOf = model => model.get("_editable") ? Desk : DoubtViewer;

function render({ model, el }) {
  const viewer = new (kindOf(model))(model, stores.get(model.get("_labels")), el, false);
  if (model.get("_review").decisions) new Reviewing(viewer);
  return () => viewer.close();
}

/** The few methods of a widget's model that the viewer needs, over plain values. */
class PageModel {
  constructor(traits) {
    this.traits = traits;
    this.handlers = new Map();
  }

  get(name) { return this.traits[name]; }

  set(name, value) {
    if (JSON.stringify(this.traits[name]) === JSON.stringify(value)) return;
    this.traits[name] = value;
    for (const handler of this.handlers.get(`change:${name}`) ?? []) handler();
  }

  on(name, handler) { this.handlers.set(name, [...(this.handlers.get(name) ?? []), handler]); }

  off(name, handler) { this.handlers.set(name, (this.handlers.get(name) ?? []).filter(other => other !== handler)); }

  save_changes() {}

  send() {}
}

/** Start each viewer that a page carries without a kernel; see offline_page.py. */
function startOffline(page) {
  for (const el of page.querySelectorAll(".paxray-offline:not([data-started])")) {
    el.dataset.started = "";
    const { traits, scenes } = JSON.parse(el.querySelector("script[type='application/json']").textContent);
    const model = new PageModel({ ...traits, _first: scenes[0] }), store = new Store(model);
    scenes.slice(1).forEach(scene => store.add(scene));
    el.querySelector("figure").remove();
    const viewer = new (kindOf(model))(model, store, el, true);
    if (!getComputedStyle(el).getPropertyValue("--jp-layout-color1")) viewer.root.classList.add("standalone");
  }
}

export default { initialize, render };
