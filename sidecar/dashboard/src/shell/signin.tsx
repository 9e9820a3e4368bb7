import { useEffect, useId, useLayoutEffect, useRef, useState, type FormEvent } from "react";
import { ApiError, request } from "../api/client";
import { Icon, Mark } from "../ui/icons";
import { useTitle } from "../ui/title";

/* The key goes to /login once and is forgotten: the cookie is not readable. */
function Form({ ended, done }: { ended: boolean; done: () => Promise<void> }) {
  useTitle("Sign in");
  const id = useId();
  const [key, setKey] = useState("");
  const [shown, setShown] = useState(false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string | null>(null);

  useLayoutEffect(() => {
    document.documentElement.classList.add("signing");
    return () => document.documentElement.classList.remove("signing");
  }, []);

  const submit = async (e: FormEvent): Promise<void> => {
    e.preventDefault();
    const k = key.trim();
    if (!/^idash_\S{8,}$/.test(k)) {
      setError("An API key begins with idash_ and has no spaces.");
      return;
    }
    setBusy(true);
    setError(null);
    try {
      await request("/login", { method: "POST", quiet401: true, body: {},
        headers: { authorization: `Bearer ${k}` } });
      setKey("");
      await done();
    } catch (x) {
      setError(x instanceof ApiError && x.status === 401
        ? "This key is unknown, revoked or expired."
        : x instanceof ApiError ? `${x.problem.title}. ${x.problem.detail ?? ""}` : String(x));
    } finally {
      setBusy(false);
    }
  };

  return (
    <form onSubmit={(e) => void submit(e)} aria-labelledby="signin-title">
      <div className="row" style={{ gap: 10 }}>
        <Mark />
        <h1 id="signin-title" style={{ fontSize: 18 }}>Integration Dashboard</h1>
      </div>
      {ended ? <p role="status">Your session has ended. Sign in again to go on where you were.</p> : null}
      <div>
        <label htmlFor={id} className="strong">API key</label>
        <div className="row" style={{ gap: 4 }}>
          <input id={id} className="field grow" type={shown ? "text" : "password"} placeholder="idash_..." value={key}
            autoFocus required autoComplete="off" spellCheck={false} aria-invalid={error !== null}
            aria-describedby={`${id}-h`} onChange={(e) => setKey(e.currentTarget.value)} />
          <button type="button" className="iconbtn boxed" aria-label="Show the key" aria-pressed={shown}
            title="Show the key" onClick={() => setShown(!shown)}><Icon name="eye" /></button>
        </div>
        <div id={`${id}-h`} role="status" style={{ fontSize: 13, color: "var(--fail)" }}>{error ?? ""}</div>
      </div>
      <button type="submit" className="iconbtn primary" style={{ height: 36 }} disabled={busy}>
        {busy ? "Signing in" : "Sign in"}</button>
      <p className="muted" style={{ fontSize: 13 }}>
        The key is exchanged for a session cookie and kept nowhere in this browser.
        A first key comes from <code className="mono">integrationd key create --role admin --org 0</code>.
      </p>
    </form>
  );
}

export function SignIn({ done }: { done: () => Promise<void> }) {
  return <main className="signin"><Form ended={false} done={done} /></main>;
}

/* Over everything, which stays as it is: what was typed is not lost. */
export function SignInAgain({ done }: { done: () => Promise<void> }) {
  const box = useRef<HTMLDialogElement>(null);
  useEffect(() => box.current?.showModal(), []);
  return (
    <dialog ref={box} className="again" aria-labelledby="signin-title" onCancel={(e) => e.preventDefault()}>
      <div className="signin"><Form ended done={done} /></div>
    </dialog>
  );
}
