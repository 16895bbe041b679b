/** Saved views: a name and a query. Four come with the app, one's own are kept in this browser. */
export interface View {
  name: string;
  q: string;
}

export const BUILT_IN: View[] = [
  { name: "All", q: "" },
  { name: "Running", q: "status:queued,running" },
  { name: "Waiting", q: "status:waiting" },
  { name: "Failed 24 h", q: "status:failed,dead since:24h" },
];

const KEY = "shopfloor.jobs.views";
const MOST = 20;

export function ownViews(store: Storage = localStorage): View[] {
  try {
    const found: unknown = JSON.parse(store.getItem(KEY) ?? "[]");
    return Array.isArray(found) ? found.filter(isView).slice(0, MOST) : [];
  } catch {
    return []; // somebody else wrote there
  }
}

/** Adds it; one of the same name is replaced. */
export function saveView(view: View, store: Storage = localStorage): View[] {
  return keep([...ownViews(store).filter((each) => each.name !== view.name), view].slice(-MOST), store);
}

export function dropView(name: string, store: Storage = localStorage): View[] {
  return keep(ownViews(store).filter((each) => each.name !== name), store);
}

function keep(views: View[], store: Storage): View[] {
  try {
    store.setItem(KEY, JSON.stringify(views));
  } catch {
    // full or forbidden: they last until the page is closed
  }
  return views;
}

function isView(each: unknown): each is View {
  return typeof each === "object" && each !== null && typeof (each as View).name === "string" && typeof (each as View).q === "string";
}
