// Brings a trial's pictures into the page, where the trial finds them by their ids. Apart from the trial itself: what is
// mounted here never changes, so the server sends it once.
export default function ({ data }) {
  stock(data.pictures);
}
