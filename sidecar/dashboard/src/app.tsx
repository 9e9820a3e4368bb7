import { lazy, Suspense, useEffect, useState } from "react";
import { Link, Navigate, Route, Routes, useLocation } from "react-router";
import { ApiError, setUnauthorized } from "./api/client";
import { meQuery, queryClient, useMe } from "./api/queries";
import { SignIn, SignInAgain } from "./shell/signin";
import { Shell } from "./shell/shell";
import { Boundary } from "./ui/boundary";
import { Failure, Loading } from "./ui/parts";
import { Toasts } from "./ui/toast";
import { MeContext } from "./shell/me";
import { LogsScreen } from "./logs/screen";

const DetailPage = lazy(() => import("./detail/page"));
const SystemScreen = lazy(() => import("./admin/system"));
const AuditScreen = lazy(() => import("./admin/audit"));
const DeadLetters = lazy(() => import("./admin/dead-letters"));
const JobsScreen = lazy(() => import("./admin/jobs"));
const JobScreen = lazy(() => import("./admin/job"));
const Configuration = lazy(() => import("./admin/configuration"));

export function App() {
  const me = useMe();
  const [ended, setEnded] = useState(false);

  useEffect(() => setUnauthorized(() => setEnded(true)), []);

  /* The same person goes on where the session ended; another one starts anew. */
  const signedIn = async (): Promise<void> => {
    const before = me.data?.key_id;
    const now = await queryClient.fetchQuery({ ...meQuery, staleTime: 0 });
    const rest = { predicate: (q: { queryKey: readonly unknown[] }) => q.queryKey[0] !== "me" };
    if (before !== undefined && before !== now.key_id) {
      queryClient.removeQueries(rest);
    }
    setEnded(false);
    void queryClient.invalidateQueries(rest);
  };

  if (me.isPending) {
    return <main className="page"><Loading label="Signing in" rows={4} /></main>;
  }
  if (!me.data) {
    return me.error instanceof ApiError && me.error.status === 401
      ? <SignIn done={signedIn} />
      : <main className="signin"><div className="card" style={{ width: "min(480px, 100%)" }}>
        <h1 className="visually-hidden">Integration Dashboard</h1><Failure error={me.error} retry={() => void me.refetch()} /></div></main>;
  }
  return (
    <MeContext value={me.data}>
      <Shell key={me.data.key_id}>
        <Screens />
      </Shell>
      <Toasts />
      {ended ? <SignInAgain done={signedIn} /> : null}
    </MeContext>
  );
}

/* What fails in one screen is forgotten in the next. */
function Screens() {
  const at = useLocation().pathname;
  return (
    <Boundary screen key={at.split("/")[1]}>
      <Suspense fallback={<main className="page"><Loading /></main>}>
        <Routes>
          <Route index element={<Navigate to="/logs/api" replace />} />
          <Route path="/logs" element={<Navigate to="/logs/api" replace />} />
          <Route path="/logs/:tab" element={<LogsScreen />} />
          <Route path="/log/:id" element={<DetailPage />} />
          <Route path="/system" element={<SystemScreen />} />
          <Route path="/jobs" element={<JobsScreen />} />
          <Route path="/jobs/:id" element={<JobScreen />} />
          <Route path="/audit" element={<AuditScreen />} />
          <Route path="/dead-letters" element={<DeadLetters />} />
          <Route path="/config/:what?" element={<Configuration />} />
          <Route path="*" element={
            <main className="page"><h1 className="visually-hidden">Not found</h1><Failure error={new ApiError({ status: 404, title: "No such page", detail: "The address leads nowhere in this dashboard." })} />
              <p style={{ textAlign: "center" }}><Link to="/logs/api">All logs</Link></p></main>} />
        </Routes>
      </Suspense>
    </Boundary>
  );
}
