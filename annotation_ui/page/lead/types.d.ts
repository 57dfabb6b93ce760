// What the server answers to the lead. Only the type checker reads this file; no browser loads it.

export type { Language, Me, Project, Text } from "../types";

export type Status = "open" | "closing" | "decided" | "tie" | "safety_review" | "unavailable" | "withdrawn";
export interface LevelShare { level: number; images: number; low: number | null; high: number | null; expected: number | null }
export interface Progress {
  at: number; paused: boolean; ordering: string; votes_per_image: number; images: Record<Status, number>;
  asked: number; cast: number; left: number; waiting: { adjudication: number; safety_review: number };
  hours: { first: number; votes: number[] };
  pace: { votes_per_day: number; days: number; days_left: number } | null; levels: LevelShare[];
  model: LevelModel | null;
}
export interface Estimate { value: number; low: number; high: number }
export interface LevelModel {
  note: string | null; decided: number; accuracy: Estimate | null; baseline: Estimate | null; agreement: Estimate | null;
  level5_auc: Estimate | null; is_useful: boolean; undecided: number; level5: Estimate | null;
}
export interface Coefficient { value: number; low: number | null; high: number | null }
export interface Agreement { at: number; images: number; alpha: Coefficient | null; kappa: Coefficient | null }
export interface Confusion { counts: number[][]; agreement: number | null }
export interface Work {
  votes: number; median_ms: number | null; p10_ms: number | null; agreement: number | null; gold: number; gold_right: number;
  test: "testing" | "passed" | "failed" | null; test_correct: number; test_answered: number; skips: Record<string, number>;
  corrections: number; withdrawals: number; set_aside: number; held: number; last_at: number | null;
}
export interface Worker { id: number; name: string; role: "annotator" | "reviewer" | "lead"; revoked: boolean; work: Work }
export interface Workers { at: number; people: Worker[] }
export interface Invited { id: number; name: string; token: string; expires_at: number }
export interface Shown {
  id: number; key: string; status: Status; level: number | null; known: number | null; reason: string | null; unsafe: number | null;
  version: string; votes: { person_id: number; person: string; level: number | null }[];
}
export interface Gallery { items: Shown[]; next: string | null; looked_at: number; blur_from: number }
export interface Story {
  id: number; project_id: number; key: string; kind: "image" | "gold"; corpus: string | null; shard: string | null; width: number | null;
  height: number | null; version: string; status: Status; level: number | null; known: number | null; asked: number;
  reason: string | null; unsafe: number | null; gold: Status | null;
  votes: {
    person: string; round: number; revision: number; level: number | null; answer: Record<string, Record<string, number>> | null;
    at: number | null; shown_ms: number | null; decided_ms: number | null; hidden_ms: number | null; device: string | null;
  }[];
  parts: { person: string; state: string; reason: string | null; at: number }[];
  verdict: { person: string; level: number; kind: string; at: number; note: string | null } | null;
}
export interface Entry { id: number; at: number; person: string | null; action: string; detail: Record<string, unknown> | null; address: string | null }
export interface Log { entries: Entry[]; next: number | null; names: Record<string, string> }

/** What the views share. */
export interface Desk {
  me: import("../types").Me; project: import("../types").Project; blur: boolean;
  ask(method: string, path: string, body?: unknown): Promise<any>;
  say(text: string): void;
  again(): void;
}
