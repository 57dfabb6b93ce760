// What the server answers, and what the page keeps. Only the type checker reads this file; no browser loads it.

export type Language = "en" | "zh";
export type Text = Record<Language, string>;
export interface Level { value: number; name: Text; help: Text }
export interface Criterion {
  name: string; title: Text; help: Text; ends: Record<string, Text>; needs_prompt: boolean;
}
export interface Declaration {
  name: string; title: Text; layout: "image" | "captions" | "images"; answer: "level" | "scores";
  levels: Level[]; criteria: Criterion[]; skip_reasons: { name: string; title: Text }[];
}
export interface Preferences {
  language?: Language; theme?: "auto" | "light" | "dark"; blur?: boolean; shortcuts?: boolean; rest?: boolean;
}
export interface Project { id: number; task: string; paused: boolean; declaration: Declaration; grace_seconds: number }
export interface Me {
  person: { id: number; name: string; role: "annotator" | "reviewer" | "lead"; has_password: boolean; preferences: Preferences };
  csrf: string; projects: Project[]; team: string; tune: boolean;
}
export type Scores = Record<string, Record<string, number>>;
export type Answer = { level: number | null; answer: Scores | null };
export interface Part { id: string; caption_zh?: string | null; caption_en?: string | null }
export interface Item {
  id: number; lease: string; expires_in: number; revision: number; level: number | null; answer: Scores | null; unsafe: boolean;
  pictures: { preview: string; full: string; width: number | null; height: number | null }[]; parts: Part[] | null; prompt: string | null;
}
export interface HistoryItem extends Item { changeable: boolean; skipped: string | null; at: number }
export type State = "ready" | "nothing" | "paused" | "failed" | "no_gold";
export interface Claimed {
  state: State; testing: boolean; items: Item[]; left: number | null; done: number;
  test: { answered: number; of: number } | null;
}
export interface Saved { item: number; revision: number; at: number; test: { state: "passed" | "failed"; correct: number; of: number } | null }
export interface Reviewed { item: Item | null; kind: string | null; waiting: Record<string, number> }
export interface Times { shown_ms: number; decided_ms: number; hidden_ms: number; device: string }

/** A request that waits to be sent; its place in the outbox is its key. */
export interface Waiting {
  kind: "votes" | "withdraw" | "skip" | "unskip" | "decisions"; project: number; item: number;
  body: Record<string, unknown>; attempts: number;
}
/** What the person has answered on this page, newest last: what Z takes back and the arrow keys show. */
export interface Answered { item: Item; answer: Answer | null; skipped: string | null; changeable: boolean; key: string | null; before: Answer | null; counted?: boolean }
