import { lazy, Suspense } from "react";
import { Skeleton } from "../ui/parts";

const Merge = lazy(() => import("./merge"));

export function AttemptDiff({ a, b, label }: { a: string; b: string; label: string }) {
  return (
    <section className="card" aria-label={label}>
      <header><h3>{label}</h3></header>
      {a === b ? <div className="state"><p>Both attempts sent and got the same.</p></div>
        : <Suspense fallback={<Skeleton h={160} />}><Merge a={a} b={b} label={label} /></Suspense>}
    </section>
  );
}
