export default function Screen() {
  return <main className="page narrow"><div className="page-head"><h1>dead-letters</h1></div></main>;
}
