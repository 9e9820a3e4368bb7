import { Component, type ReactNode } from "react";
import { Empty, Failure } from "./parts";

/* As Chromium, Firefox and Safari say it, and Vite of a stylesheet. */
const NOT_LOADED = /dynamically imported module|Importing a module script failed|Unable to preload CSS/i;

/* A part that throws does not take the page with it.  SCREEN: it is all that is below the bar. */
export class Boundary extends Component<{ children: ReactNode; screen?: boolean }, { error: unknown }> {
  override state: { error: unknown } = { error: null };

  static getDerivedStateFromError(error: unknown): { error: unknown } {
    return { error };
  }

  override render(): ReactNode {
    const { error } = this.state;
    const told = error === null ? null : this.told(error);
    return told === null ? this.props.children
      : this.props.screen ? <main className="page"><h1 className="visually-hidden">Not shown</h1>{told}</main> : told;
  }

  private told(error: unknown): ReactNode {
    if (error instanceof Error && NOT_LOADED.test(error.message)) {
      return <Empty title="A part of this page could not be loaded"
        acts={<button type="button" className="iconbtn boxed" onClick={() => window.location.reload()}>Load the page again</button>}>
        <p>The connection was cut, or the dashboard was updated while this page was open.</p></Empty>;
    }
    return <Failure error={error} retry={() => this.setState({ error: null })} />;
  }
}
